import functools

import pytest
import torch
from torch import nn

from virtualpool.fingerprint import fingerprint, name_of

WEIGHTS = {"weight": torch.arange(6.0).reshape(2, 3), "steps": torch.tensor(3)}

OTHERS = {
    "value": WEIGHTS | {"steps": torch.tensor(4)},
    "shape": WEIGHTS | {"weight": torch.arange(6.0).reshape(3, 2)},
    "dtype": WEIGHTS | {"steps": torch.tensor(3, dtype=torch.int32)},
    "name": {"weights": WEIGHTS["weight"], "steps": WEIGHTS["steps"]},
}


def test_memory_layout_and_gradients_do_not_matter():
    same = {
        "weight": WEIGHTS["weight"].t().contiguous().t().requires_grad_(),
        "steps": WEIGHTS["steps"].clone(),
    }
    assert fingerprint(same) == fingerprint(WEIGHTS)


@pytest.mark.parametrize("case", OTHERS)
def test_all_else_does(case):
    assert fingerprint(OTHERS[case]) != fingerprint(WEIGHTS)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.bool, torch.complex64, torch.float64])
def test_every_dtype(dtype):
    zero, one = torch.zeros(3, dtype=dtype), torch.ones(3, dtype=dtype)
    assert fingerprint({"x": zero}) != fingerprint({"x": one})


def _maker():
    return lambda model: model


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (None, None),
        (_maker, "_maker"),
        (_maker(), "_maker"),
        (functools.partial(_maker), "_maker"),
        (nn.Flatten(), "Flatten"),
    ],
)
def test_name_of(function, name):
    assert name_of(function) == name
