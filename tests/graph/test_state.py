"""A model that has run, or was copied, is as it was."""

import copy
import re
import threading
from collections import deque

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from virtualpool import VirtualPoolError
from virtualpool.graph.state import copy_of, state_kept
from virtualpool.torch_private import CONSTANT


class Busy(nn.Module):
    """Changes everything about itself that a forward may change."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.calls = 0
        self.label = "mine"
        self.cache: object = None
        self.register_buffer("seen", torch.zeros(2))
        self.register_buffer("last", None)

    def forward(self, images):
        self.calls += 1
        self.new = images
        self.cache = {"images": images}
        del self.label
        self.seen += 1
        self.last = images.mean()
        self.register_buffer("late", images.sum())
        self.eval()
        return self.norm(images)


def snapshot(model):
    """A model's comparable state: the objects that it holds, and the values of its buffers."""
    attributes = [{**vars(module)} for module in model.modules()]
    buffers = {
        name: (buffer, None if buffer is None else buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
    }
    return attributes, buffers


def assert_as_before(model, before):
    attributes, buffers = before
    assert [{**vars(module)} for module in model.modules()] == attributes
    now = snapshot(model)[1]
    assert list(now) == list(buffers)
    for name, (buffer, value) in buffers.items():
        assert now[name][0] is buffer, name
        if value is not None:
            torch.testing.assert_close(now[name][1], value, rtol=0, atol=0, msg=name)


def change_running_statistics(model):
    model.norm(torch.ones(2, 3, 4, 4))


def replace_a_buffer(model):
    model.seen = torch.ones(2)


def change_within_inference(model):
    with torch.inference_mode():
        model.seen.add_(1)


def change_of_flags(model):
    model.eval().requires_grad_(True)


CHANGES = [
    lambda model: model(torch.rand(2, 3, 4, 4)),
    change_running_statistics,
    replace_a_buffer,
    change_within_inference,
    change_of_flags,
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_has_changed_is_put_back(change):
    model = Busy().train()
    before = snapshot(model)
    with state_kept(model):
        change(model)
    assert_as_before(model, before)


def test_it_is_put_back_after_a_failure():
    model = Busy()
    before = snapshot(model)
    with pytest.raises(RuntimeError), state_kept(model):
        model(torch.rand(2, 3, 4, 4))
        model.norm(torch.rand(2, 7, 4, 4))
    assert_as_before(model, before)


def test_new_constants_of_a_trace_stay():
    model = nn.ReLU()
    with state_kept(model):
        setattr(model, f"{CONSTANT}0", torch.ones(1))
        model.other = torch.ones(1)
    assert hasattr(model, f"{CONSTANT}0")
    assert not hasattr(model, "other")


# PyTorch says on every use that scripting is on its way out.
@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_scripted_part_is_passed_over_but_for_its_buffers():
    model = nn.Sequential(nn.BatchNorm2d(3), torch.jit.script(nn.BatchNorm2d(3)))
    before = copy.deepcopy(model.state_dict())
    with state_kept(model):
        model(torch.rand(2, 3, 4, 4))
        assert model.state_dict()["1.num_batches_tracked"] == 1
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_copy_is_apart():
    model = Busy()
    other = copy_of(model)
    assert type(other) is Busy
    with torch.no_grad():
        other.get_parameter("norm.weight").zero_()
    assert torch.equal(model.norm.weight, torch.ones(3))


def uncopyable():
    model = Busy()
    model.cache = threading.Lock()
    return model


class Filling(nn.Module):
    """Fills its containers, and hooks itself."""

    def __init__(self):
        super().__init__()
        self.body = nn.ReLU()
        self.maps: list[object] = [1]
        self.named: dict[str, list[int]] = {"deep": [2]}
        self.seen = {3}
        self.last = deque([4], maxlen=1)
        self.pair: tuple[list[int], int] = ([5], 6)
        self.itself: list[object] = [self.maps]

    def forward(self, images):
        self.body.register_forward_hook(lambda *_: self.maps.append(images))
        self.body.register_forward_pre_hook(lambda *_: None, with_kwargs=False)
        self.register_full_backward_hook(lambda *_: None)
        self.add_module("late", nn.ReLU())
        self.named["deep"].append(3)
        self.named["new"] = []
        self.seen.clear()
        self.last.append(5)
        self.pair[0].clear()
        self.itself.append(self.itself)
        return self.body(images)


def test_what_is_filled_is_as_it_was():
    model = Filling()
    before = {name: copy.deepcopy(value) for name, value in vars(model).items() if name[0] != "_"}
    for _ in range(2):
        with state_kept(model):
            model(torch.rand(2))
    assert {name: vars(model)[name] for name in before} == before
    assert model.itself[0] is model.maps
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks
    assert list(dict(model.named_children())) == ["body"]


def with_an_intermediate_result():
    model = Busy()
    model.cache = model.norm.weight * 2
    return model


@pytest.mark.parametrize(
    ("make", "reason"),
    [(uncopyable, "TypeError: cannot pickle"), (with_an_intermediate_result, "RuntimeError: Only")],
)
def test_what_cannot_be_copied_is_refused(make, reason):
    with pytest.raises(VirtualPoolError, match=f"Busy cannot be copied .{reason}.*deepcopy"):
        copy_of(make())
    with pytest.raises((TypeError, RuntimeError)):
        copy.deepcopy(make())


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("name", ["", "0", "1.2"])
@pytest.mark.parametrize(
    ("wrap", "call"),
    [
        (lambda it: nn.utils.weight_norm(it), "torch.nn.utils.remove_weight_norm({}, 'weight')"),
        (
            lambda it: prune.l1_unstructured(it, "weight", 0.5),
            "torch.nn.utils.prune.remove({}, 'weight')",
        ),
        (
            lambda it: prune.random_unstructured(it, "bias", 0.5),
            "torch.nn.utils.prune.remove({}, 'bias')",
        ),
    ],
    ids=["weight norm", "pruned", "pruned bias"],
)
def test_what_computes_a_weight_in_a_hook_is_refused_with_the_call_that_removes_it(
    name, wrap, call
):
    inner = nn.Sequential(nn.ReLU(), nn.ReLU(), nn.Conv2d(4, 4, 3))
    model = nn.Sequential(nn.Conv2d(3, 4, 3), inner) if name else nn.Conv2d(3, 4, 3)
    wrap(model.get_submodule(name))
    call = call.format(f"model.get_submodule({name!r})")
    with pytest.raises(VirtualPoolError, match=re.escape(call)):
        copy_of(model)
    exec(call, {"torch": torch, "model": model})
    copy_of(model)
