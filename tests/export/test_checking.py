"""Differences of outputs, and comparisons of a file with a model."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.export.checking import checked, difference

ONE, TWO = torch.tensor([1.0]), torch.tensor([2.0])


@pytest.mark.parametrize(
    ("found", "expected", "wanted"),
    [
        (ONE, TWO, 0.5),
        ([ONE, ONE], (ONE, ONE), 0.0),
        ({"a": torch.zeros(2)}, torch.zeros(2), 0.0),
        (ONE, torch.zeros(1), math.inf),
        (ONE, [ONE, ONE], math.inf),
        (ONE, torch.ones(1, 1), math.inf),
        (torch.tensor([math.nan]), ONE, math.inf),
        (torch.tensor([3]), torch.tensor([3]), 0.0),
        (torch.tensor([3]), torch.tensor([4]), math.inf),
        (torch.zeros(0, 4), torch.zeros(0, 4), 0.0),
        ([], [], 0.0),
    ],
)
def test_differences(found: Any, expected: Any, wanted: float) -> None:
    assert difference(found, expected) == wanted


class Even(nn.Module):
    """Takes images of even size alone."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] % 2:
            raise ValueError("odd")
        return x


def as_it_is(inputs: Any) -> Any:
    return lambda: inputs


def test_inputs_that_the_model_refuses_are_left_out() -> None:
    sizes = [torch.zeros(1, size) for size in (2, 4, 5, 6)]
    assert [each.shapes for each in checked(as_it_is, Even(), sizes, 0.1)] == ["1x2", "1x4", "1x6"]
    with pytest.raises(ValueError, match="odd"):
        checked(as_it_is, Even(), sizes[2:], 0.1)


def test_a_file_that_does_not_run() -> None:
    def failing(inputs: Any) -> Any:
        raise RuntimeError("no such operator\nand more")

    with pytest.raises(VirtualPoolError, match=r"of 1x2 \(RuntimeError: no such operator\)"):
        checked(failing, Even(), [torch.zeros(1, 2)], 0.1)
