import json
from collections import OrderedDict, UserDict, namedtuple
from types import MappingProxyType

import pytest
import torch
from torch import nn

from virtualpool import VirtualPoolError
from virtualpool.graph.inputs import (
    as_call,
    batch_size,
    call,
    describe,
    for_model,
    from_description,
    map_tensors,
    tensors,
)

Pair = namedtuple("Pair", ["left", "right"])

MAP = torch.rand(2, 3, 4, 5)
FORMS = {
    "a tensor": (MAP, ((MAP,), {})),
    "positional": ((MAP, 2), ((MAP, 2), {})),
    "keywords": ({"image": MAP}, ((), {"image": MAP})),
    "another mapping": (UserDict({"image": MAP}), ((), {"image": MAP})),
    "a list": ([MAP, MAP], (([MAP, MAP],), {})),
    "nothing": ((), ((), {})),
}


class Echo(nn.Module):
    def forward(self, *arguments, **keywords):
        return arguments, keywords


@pytest.mark.parametrize(("inputs", "expected"), FORMS.values(), ids=FORMS)
def test_calls_a_model(inputs, expected):
    assert as_call(inputs) == expected
    assert call(Echo(), inputs) == expected


DESCRIBED = {
    "float32": MAP,
    "bfloat16": MAP.bfloat16(),
    "whole numbers": torch.ones(3, dtype=torch.int64),
    "bytes": torch.ones(3, 8, 9, dtype=torch.uint8),
    "truth values": torch.ones(2, dtype=torch.bool),
    "a scalar": torch.tensor(2.0),
    "no images": torch.zeros(0, 3, 8, 8),
    "positional": (MAP, None, 2, 0.5, True, "fast"),
    "nested": {"images": [MAP, MAP[0]], "options": {"sizes": (2, 3), "none": None}},
}


@pytest.mark.parametrize("inputs", DESCRIBED.values(), ids=DESCRIBED)
def test_a_description_gives_inputs_like_them(inputs):
    description = describe(inputs)
    random = torch.get_rng_state()
    made = from_description(json.loads(json.dumps(description)))
    assert torch.equal(torch.get_rng_state(), random)
    assert describe(made) == description
    assert type(made) is type(inputs)
    for tensor in tensors(made):
        assert tensor.isfinite().all()
        assert not tensor.is_floating_point() or tensor.numel() < 2 or tensor.std() > 0


def test_what_a_file_cannot_describe_is_refused():
    with pytest.raises(VirtualPoolError, match="hold a Identity"):
        describe((MAP, [nn.Identity()]))


def test_map_tensors_keeps_the_structure():
    value = {"pair": Pair(MAP, [MAP, 3]), "text": "x"}
    mapped = map_tensors(lambda tensor: tensor[:1], value)
    assert isinstance(mapped["pair"], Pair)
    assert [tuple(tensor.shape) for tensor in tensors(mapped)] == [(1, 3, 4, 5)] * 2
    assert (mapped["pair"].right[1], mapped["text"]) == (3, "x")
    assert len(MAP) == 2


class Named(OrderedDict):
    """A dict whose values are attributes, too, as the outputs of transformers."""

    def __setitem__(self, name, value):
        super().__setitem__(name, value)
        setattr(self, name, value)

    def update(self, *_, **__):
        raise NotImplementedError


@pytest.mark.parametrize("kind", [dict, Named, UserDict, MappingProxyType])
def test_map_tensors_keeps_the_class_of_a_mapping_that_can_be_changed(kind):
    value = kind({"logits": MAP})
    mapped = map_tensors(lambda tensor: tensor[:1], value)
    assert type(mapped) is (dict if kind is MappingProxyType else kind)
    assert (len(mapped["logits"]), len(value["logits"])) == (1, 2)
    assert kind is not Named or len(mapped.logits) == 1


BATCHES = {
    "a tensor": (MAP, 2),
    "positional": ((MAP, torch.rand(7)), 2),
    "keywords": ({"image": MAP}, 2),
    "a list of images": ([MAP[0], MAP[1], MAP[0]], 3),
    "keywords with a list of images": ({"images": [MAP[0]]}, 1),
    "none": (MAP[:0], 0),
}


@pytest.mark.parametrize(("inputs", "expected"), BATCHES.values(), ids=BATCHES)
def test_batch_size(inputs, expected):
    assert batch_size(inputs) == expected


@pytest.mark.parametrize("inputs", [(), {}, torch.tensor(1.0), (3, 4)])
def test_inputs_without_a_batch_are_refused(inputs):
    with pytest.raises(VirtualPoolError, match=r"give a tensor of shape \(N, ...\)"):
        batch_size(inputs)


def test_for_model_takes_over_dtype_and_device():
    inputs = {"images": MAP, "labels": torch.ones(2).long()}
    made = for_model(inputs, nn.Linear(2, 2, dtype=torch.float64, device="meta"))
    assert (made["images"].dtype, made["labels"].dtype) == (torch.float64, torch.int64)
    assert {tensor.device.type for tensor in tensors(made)} == {"meta"}
    assert for_model(inputs, nn.ReLU()) is inputs
