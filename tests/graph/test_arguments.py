"""Arguments that are no tensors are held fixed in a pooled model, and another value is refused."""

import enum
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from virtualpool import VirtualPoolError, apply, sites


class Way(enum.Enum):
    SLOW = 1
    FAST = 2


class Optional(nn.Module):
    """Takes `option` into account by a way of its own."""

    def __init__(self, code: Callable[[Any, Any], Any]):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.code = code

    def forward(self, images, option=None):
        return self.code(torch.relu(self.conv(images)), option)


class Whole(nn.Module):
    """Cannot be traced itself, so its block is pooled, for the option that it is given."""

    def __init__(self, code: Callable[[Any, Any], Any], option: Any):
        super().__init__()
        self.block = Optional(code)
        self.option = option

    def forward(self, images):
        while images.abs().max() > 5:
            images = images / 2
        return self.block(images, self.option)


def scaled(x, option):
    return x if option is None else x * option


def doubled(x, option):
    return x * 2 if option in (True, "double", Way.FAST) else x


def converted(x, option):
    return x.to(option)


def reshaped(x, option):
    return x.flatten(1).view(option)


def first_of(x, option):
    return x + option[0] if option[1] is None else x


def named(x, option):
    return x + option["shift"] if option["use"] else x


IMAGES = torch.rand(2, 3, 8, 8)
ONE = torch.ones(1)
CASES: list[Any] = [
    # code, the option that it is pooled with, others that are refused, and how they are called
    (scaled, None, [2.0, ONE, [ONE]], "option is .*; the model was pooled with None"),
    (scaled, 2.0, [3.0, None, torch.tensor(2.0)], "option is .*; the model was pooled with 2.0"),
    (scaled, 2, [3, "2", 2.0, True], "option is .*; the model was pooled with 2,"),
    (doubled, True, [False, None], "option is .*; the model was pooled with True"),
    (doubled, "double", ["no", None], "option is .*; the model was pooled with 'double'"),
    (doubled, Way.FAST, [Way.SLOW, 2], "option is .*; the model was pooled with <Way.FAST: 2>"),
    (converted, torch.float64, [torch.float32], "is torch.float32; .* with torch.float64"),
    (converted, torch.device("cpu"), [torch.device("meta")], r"type='meta'\); .* with device"),
    (reshaped, torch.Size([2, 256]), [torch.Size([512])], "option has 1 values; .* with 2"),
    (reshaped, (2, 256), [(2, 128)], r"option\[1\] is 128; the model was pooled with 256"),
    (first_of, [ONE, None], [[ONE, ONE]], r"option\[1\] is a tensor of shape \(1,\)"),
    (first_of, [ONE, None], [[ONE], []], "option has . values; the model was pooled with 2"),
    (named, {"shift": ONE, "use": True}, [{"shift": ONE, "use": False}], r"option\['use'\] is F"),
]


def pooled_block(code: Callable[[Any, Any], Any], option: Any) -> Any:
    return apply(Whole(code, option), IMAGES, "all").get_submodule("block")


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("code", "option", "others", "message"), CASES)
def test_another_value_is_refused(code, option, others, message, training):
    pooled = pooled_block(code, option).train(training)
    for each in (pooled, pickle.loads(pickle.dumps(pooled))):
        assert each(IMAGES, option).shape == Optional(code)(IMAGES, option).shape
        for other in others:
            with pytest.raises(VirtualPoolError, match=message):
                each(IMAGES, other)


@pytest.mark.parametrize(("code", "option", "others", "message"), CASES)
def test_the_checks_compile_without_a_graph_break(code, option, others, message):
    pooled = pooled_block(code, option)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()  # of what other tests have compiled
    compiled: Any = torch.compile(pooled, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(IMAGES, option), pooled(IMAGES, option))
    assert not torch._dynamo.utils.counters["graph_break"]


@pytest.mark.parametrize(("code", "option", "others", "message"), CASES)
def test_another_value_is_refused_when_compiled(code, option, others, message):
    compiled: Any = torch.compile(pooled_block(code, option), backend="eager")
    compiled(IMAGES, option)
    with pytest.raises(VirtualPoolError, match=message):
        compiled(IMAGES, others[0])


def test_the_option_of_a_whole_model():
    network = Optional(scaled)
    pooled = apply(network, {"images": IMAGES, "option": 0.5}, "all")
    assert pooled(IMAGES, option=0.5).shape == (2, 4, 8, 8)
    with pytest.raises(VirtualPoolError, match=r"option is None; .* with 0\.5,"):
        pooled(IMAGES)


class Holder:
    tensor = ONE


def test_an_object_that_no_check_can_compare_leaves_the_block_whole():
    (site,) = sites(Whole(lambda x, option: x + option.tensor, Holder()), IMAGES)
    assert not site.eligible
    assert "option is a Holder, which a graph would fix" in str(site.reason)
