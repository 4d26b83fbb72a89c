"""Sums of recovered maps: their virtual pool is behind the activation, and they stay reduced."""

import importlib
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import fx, nn
from torch.nn import functional

import virtualpool as vp
from tests.fuse.checks import assert_same, images, run
from virtualpool import VirtualPoolError
from virtualpool.apply import apply_plan
from virtualpool.fuse import report_of
from virtualpool.graph.parts import trace
from virtualpool.graph.sums import is_sum_module
from virtualpool.operator.pool import virtual_pool
from virtualpool.plan import RecoveredSum, plan_of


def conv(stride=1):
    return nn.Conv2d(4, 4, 3, stride, 1)


class Block(nn.Module):
    """As in ResNet, with the spelling of its sum given."""

    def __init__(self, end=lambda x, y: functional.relu(x + y), shortcut=None):
        super().__init__()
        self.conv1, self.bn1 = conv(), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = conv(), nn.BatchNorm2d(4)
        self.shortcut = shortcut or nn.Identity()
        self.end = end

    def forward(self, x):
        y = functional.relu(self.bn1(self.conv1(x)))
        return self.end(self.bn2(self.conv2(y)), self.shortcut(x))


class Scaled(nn.Module):
    """A shortcut through a number for each channel that depends on the image."""

    def forward(self, x):
        return x * x.mean((2, 3), keepdim=True).sigmoid()


class Modules(Block):
    """The same with modules, one of which changes the sum in place."""

    def __init__(self, shortcut=None):
        super().__init__(None, shortcut)
        self.drop, self.act = nn.Dropout(0.5), nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        y += self.shortcut(x)
        return self.act(self.drop(y))


def network(*blocks):
    model = nn.Sequential(conv(), nn.ReLU(), *blocks, conv(2), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            module.running_mean.normal_(generator=torch.Generator().manual_seed(0))
    return model.double().eval()


def parameters(module: Any):
    return module.weight, module.bias


def gradients(model, x):
    return torch.autograd.grad(model(x).square().sum(), list(model.parameters()))


def sums(model):
    return [(each.part, each.number) for each in plan_of(model).sums]


ENDS = {
    "functions": lambda x, y: functional.relu(x + y),
    "in place": lambda x, y: x.add_(y).relu_(),
    "methods": lambda x, y: x.add(y).clamp(min=0),
    "torch": lambda x, y: torch.tanh(torch.add(x, y)),
    "keywords": lambda x, y: functional.relu(input=torch.add(other=y, input=x)),
    "one keyword": lambda x, y: functional.relu(x.add(other=y)),
    "three": lambda x, y: functional.silu(x + y + y * 0.5),
}


class Add(nn.Module):
    """A sum in a module of its own."""

    def forward(self, x, y):
        return x + y


class Join(nn.Module):
    """A sum with its activation, and a dropout that does nothing in eval mode."""

    def __init__(self):
        super().__init__()
        self.drop, self.act = nn.Dropout(0.5), nn.ReLU()

    def forward(self, one, other):
        return self.act(self.drop(torch.add(input=one, other=other)))


class OwnSum(Block):
    """A block whose sum is in such a module."""

    def __init__(self, end, shortcut=None):
        super().__init__(end(), shortcut)


class ActivatedOwnSum(Block):
    """The same, activated outside of it."""

    def __init__(self, shortcut=None):
        super().__init__(None, shortcut)
        self.add = Add()

    def forward(self, x):
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(self.add(y, self.shortcut(x)))


BLOCKS = {name: partial(Block, end) for name, end in ENDS.items()} | {
    "modules": Modules,
    "own module": partial(OwnSum, Join),
    "own module, activated outside": ActivatedOwnSum,
}


class Leaves(nn.Module):
    """It adds, but leaves something behind: a trace of it would leave no value."""

    def forward(self, x, y):
        self.seen = x + y
        return self.seen


class Chooses(nn.Module):
    """It adds or does not: which one depends on values."""

    def forward(self, x, y):
        return x + y if x.sum() > 0 else x - y


@pytest.mark.parametrize("add", [Leaves(), Chooses(), nn.Bilinear(4, 4, 4)])
def test_a_module_that_does_more_than_add_stays_whole(add):
    assert not is_sum_module(add)
    assert not any(isinstance(each, fx.Proxy) for each in vars(add).values())


@pytest.mark.parametrize("shortcut", [None, nn.BatchNorm2d(4), Scaled()], ids=["", "norm", "gate"])
@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_sums_of_recovered_maps_stay_reduced(block, shortcut):
    model, x = network(block(shortcut=shortcut), block()), images(16, 17, channels=4)
    pooled = vp.apply(model, x)
    assert sums(pooled) == [("", 0), ("", 1)]
    fused = vp.fuse(pooled, x)
    report = report_of(fused)
    # The mean reads cells too: no map is interpolated.
    assert report is not None
    assert report.remaining == []
    for each in (x, images(13, 12, channels=4)):
        assert_same(run(fused, each), run(pooled, each))


def test_the_value_is_the_virtual_pool_of_the_activated_cells():
    model = network(Block())
    x = images(9, 10, channels=4)
    pooled = vp.apply(model, x, ["0", "2.conv2"])
    block: Any = pooled.get_submodule("2")
    start = virtual_pool(
        functional.conv2d(x, *parameters(pooled.get_submodule("0")), 2, 1).relu(), (9, 10)
    )
    inner = functional.relu(block.bn1(block.conv1(start)))
    reduced = block.bn2(functional.conv2d(inner, *parameters(block.conv2), 2, 1))
    expected = virtual_pool(functional.relu(reduced + start[..., ::2, ::2]), (9, 10))
    assert_same(run(block, start.detach()), expected.detach())


FULL = {
    "a full shortcut": (network(Block()), ["2.conv1", "2.conv2"]),
    "a full branch": (network(Block()), ["0", "2.conv1"]),
    "a function of a recovered map": (network(Block(shortcut=nn.Tanh())), ["0", "2.conv2"]),
    "no activation": (network(Block(lambda x, y: x + y)), ["0", "2.conv2"]),
    "read elsewhere": (network(Block(lambda x, y: (z := x + y) * z.relu())), ["0", "2.conv2"]),
    "one summand": (network(Block(lambda x, y: (x + 1).relu() + y)), ["0", "2.conv2"]),
}


@pytest.mark.parametrize(("model", "names"), FULL.values(), ids=FULL)
def test_other_sums_are_left(model, names):
    x = images(9, 10, channels=4)
    pooled = vp.apply(model, x, names)
    assert sums(pooled) == []
    assert_same(run(vp.fuse(pooled, x), x), run(pooled, x))


def test_sites_in_two_steps_give_what_one_step_gives(tmp_path):
    model = network(Block(), Block())
    x = images(9, 10, channels=4)
    at_once = vp.apply(model, x)
    first = vp.apply(model, x, ["2.conv1", "3.conv1", "3.conv2"])
    assert sums(first) == []
    second = vp.apply(first, x)
    assert {*plan_of(second).sums} == {*plan_of(at_once).sums}
    assert_same(run(second, x), run(at_once, x))
    vp.save(second, tmp_path / "net.safetensors")
    loaded = vp.load(model, tmp_path / "net.safetensors")
    assert plan_of(loaded) == plan_of(second)
    assert_same(run(loaded, x), run(second, x))


class ByKeyword(Block):
    """The activation takes its map by keyword."""

    def __init__(self, shortcut=None):
        super().__init__(None, shortcut)
        self.act = nn.ReLU()

    def forward(self, x):
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return self.act(input=y + self.shortcut(x))


class Interleaved(nn.Module):
    """The sum that stays in full is made first and activated last."""

    def __init__(self):
        super().__init__()
        self.conv = conv()

    def forward(self, x):
        y = self.conv(x)
        full, reduced = x.tanh() + y, y + y * 2
        reduced = reduced.relu()
        return full.relu() + reduced


@pytest.mark.parametrize(
    ("block", "expected"), [(ByKeyword(), [0]), (Interleaved(), [0])], ids=["keyword", "order"]
)
def test_sums_have_the_order_of_their_activations(block, expected):
    model, x = network(block), images(9, 10, channels=4)
    pooled = vp.apply(model, x)
    assert [each.number for each in plan_of(pooled).sums] == expected
    again = apply_plan(model, x, plan_of(pooled))
    assert_same(run(again, x), run(pooled, x))
    assert_same(run(vp.fuse(pooled, x), x), run(pooled, x))


def test_in_training_too():
    model, x = network(Block(), Block()), images(9, 10, channels=4)
    pooled = vp.apply(model, x).train()
    fused = vp.fuse(pooled, x, training=True)
    assert_same(fused(x).detach(), pooled(x).detach())
    for one, other in zip(gradients(fused, x), gradients(pooled, x), strict=True):
        assert torch.allclose(one, other)  # biases before a batch norm have none


def test_a_block_that_is_called_by_itself():
    x = images(9, 10, channels=4)
    pooled = vp.apply(network(Block(), Block()), x)
    first = functional.conv2d(x, *parameters(pooled.get_submodule("0")), 2, 1)
    step = virtual_pool(first.relu(), (9, 10)).detach()
    for name in ("2", "3"):
        step = run(pooled.get_submodule(name), step)
    last = functional.conv2d(step, *parameters(pooled.get_submodule("4")), 4, 1)
    expected = virtual_pool(last.relu(), (5, 5)).mean((2, 3), keepdim=True)
    assert_same(run(pooled, x), expected.detach())


class NormWithActivation(nn.GroupNorm):
    """As the norms of some libraries."""

    def __init__(self):
        super().__init__(2, 4)
        self.act = nn.ReLU()

    def forward(self, input):
        return self.act(super().forward(input))


class PreActivation(nn.Module):
    """A block that activates the sum of the block before it."""

    def __init__(self, act):
        super().__init__()
        self.act, self.conv, self.shortcut = act(), conv(), conv()

    def forward(self, x):
        y = self.act(x)
        return self.conv(y) + self.shortcut(y)


@pytest.mark.parametrize("act", [NormWithActivation, nn.ReLU])
def test_a_sum_that_another_module_activates(act):
    model = network(PreActivation(act), PreActivation(act), PreActivation(act))
    x = images(9, 10, channels=4)
    pooled = vp.apply(model, x)
    assert sums(pooled) == []
    assert_same(run(vp.fuse(pooled, x), x), run(pooled, x))
    assert_same(run(apply_plan(model, x, plan_of(pooled)), x), run(pooled, x))


def test_a_plan_without_sums_leaves_them():
    model = network(Block())
    x = images(9, 10, channels=4)
    plan = plan_of(vp.apply(model, x))
    before = apply_plan(model, x, replace(plan, sums=()))
    assert plan_of(before).sums == ()
    assert not torch.allclose(run(before, x), run(vp.apply(model, x), x))


@pytest.mark.parametrize("wrong", [RecoveredSum("", 7), RecoveredSum("2", 0)])
def test_a_sum_that_the_model_has_not_is_refused(wrong):
    model = network(Block())
    x = images(9, 10, channels=4)
    plan = replace(plan_of(vp.apply(model, x)), sums=(wrong,))
    with pytest.raises(VirtualPoolError, match=r"sum 0|sum 7"):
        apply_plan(model, x, plan)


def test_the_whole_model_is_traced_once(monkeypatch):
    traced = []
    module = importlib.import_module("virtualpool.apply")  # by `virtualpool` a function
    monkeypatch.setattr(module, "trace", lambda *given: traced.append(given) or trace(*given))
    pooled = vp.apply(network(Block()), images(16, 17, channels=4), border="padded")
    assert plan_of(pooled).sums
    assert plan_of(pooled).padded
    assert len(traced) == 1


def test_with_padded_borders():
    model = network(Block(), Block())
    x = images(16, 17, channels=4)
    pooled = vp.apply(model, x, border="padded")
    assert len(plan_of(pooled).sums) == 2
    for each in (x, images(13, 12, channels=4)):
        assert_same(run(vp.fuse(pooled, x), each), run(pooled, each))
