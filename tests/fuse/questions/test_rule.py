"""Rules of one's own, and which rule an operation has."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.fuse.checks import assert_same, fused_alike, images, pooled_and_fused, run
from torch import Tensor, fx, nn
from torch.nn import functional

import virtualpool as vp
from virtualpool.fuse import Affine, Pointwise, Question, Rule, rule
from virtualpool.fuse.questions.rule import _RULES, Asked, Builder
from virtualpool.fuse.questions.values import Values


class Net(nn.Module):
    """A site, an operation, and a convolution that reads its result."""

    def __init__(self, operation: Any, reads: nn.Module) -> None:
        super().__init__()
        self.site, self.operation, self.reads = nn.Conv2d(3, 4, 3, padding=1), operation, reads

    def forward(self, x):
        return self.reads(self.operation(self.site(x).relu()))


def fused_sites(operation: Any, kernel: int = 3) -> tuple[str, ...]:
    reads = nn.Conv2d(4, 4, kernel, stride=2, padding=kernel // 2)
    model = Net(operation, reads).double().eval()
    return fused_alike(model, images(), ["site"], others=[images(9, 9)]).fused


def test_a_function():
    assert fused_sites(torch.special.erf, kernel=1) == ()

    @rule(torch.special.erf)
    class Erf(Pointwise):
        pass

    assert fused_sites(torch.special.erf, kernel=1) == ("site",)
    assert fused_sites(torch.special.erf) == ()


def test_a_method_by_its_name():
    assert fused_sites(lambda x: x.logit(0.1), kernel=1) == ()
    rule("logit")(Pointwise)
    assert fused_sites(lambda x: x.logit(0.1), kernel=1) == ("site",)


class Scale(nn.Module):
    """One number for all, in a way that no rule knows."""

    def forward(self, x):
        return torch.einsum("nchw,->nchw", x, torch.tensor(2.0, dtype=x.dtype))


class Same(Scale):
    pass


class Other(Scale):
    def forward(self, x):
        return super().forward(x).flip(3)


@pytest.mark.parametrize(("kind", "sites"), [(Scale, ("site",)), (Same, ("site",)), (Other, ())])
def test_a_module_and_what_derives_from_it(kind, sites):
    assert fused_sites(kind()) == ()
    rule(Scale)(Affine)
    assert fused_sites(kind()) == sites


def test_the_later_one_replaces_the_earlier():
    rule(torch.special.erf)(Pointwise)

    @rule(torch.special.erf, "erf")
    class InFull(Rule):
        pass

    assert fused_sites(torch.special.erf, kernel=1) == ()
    assert isinstance(_RULES["erf"], InFull)


def test_one_that_builds_for_itself():
    """The flip of an interpolated map of odd width is the interpolation of its flipped cells."""

    @rule(torch.fliplr, "flip")
    class Flip(Rule):
        def answers_even(self, node: fx.Node, values: Values) -> bool:
            return self.is_interpolated(node, values)

        def is_interpolated(self, node: fx.Node, values: Values) -> bool:
            (source,) = node.all_input_nodes
            size = values.size(source)
            return source in values.interpolated and size is not None and size[1] % 2 == 1

        def asks(self, node: fx.Node, question: Question, values: Values) -> Asked:
            (source,) = node.all_input_nodes
            wanted = Question.EVEN if self.is_interpolated(node, values) else Question.FULL
            return [(source, wanted)]

        def build(self, node: fx.Node, question: Question, builder: Builder) -> fx.Node:
            if question is Question.EVEN:
                return builder.copy(node, builder.even)
            return super().build(node, question, builder)

        def size(self, node: fx.Node, builder: Builder) -> Any:
            return builder.size(node.all_input_nodes[0])

    def flipped(x: Tensor) -> Tensor:
        return x.flip(3)

    model = Net(flipped, nn.Conv2d(4, 4, 3, 2, 1)).double().eval()
    assert fused_alike(model, images(12, 13), ["site"], others=[images(9, 9)]).fused == ("site",)
    assert fused_alike(model, images(12, 12), ["site"]).fused == ()


class Named(nn.Module):
    """Arguments and buffers that have the names of operations."""

    mean: Tensor
    exp: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.site, self.reads = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, 2, 1)
        self.register_buffer("mean", torch.rand(3, 1, 1))
        self.register_buffer("exp", torch.rand(4, 1, 1))

    def forward(self, x, size, add=None, mul=2, chunk=()):
        x = (x - self.mean) * mul
        out = self.reads(functional.relu(self.site(x)) * self.exp + size)
        return out if add is None else out + add + chunk[0]


@pytest.mark.parametrize("rest", [(), (torch.ones(1).double(), 2, (torch.ones(1).double(),))])
def test_names_are_no_operations(rest):
    inputs = (images(), torch.rand(4, 1, 1, dtype=torch.float64), *rest)
    pooled, fused, report = pooled_and_fused(Named().double().eval(), inputs)
    assert "site" in report.fused
    assert_same(run(fused, *inputs), run(pooled, *inputs))
    with pytest.raises(vp.VirtualPoolError, match="mul is 3"):
        run(fused, *inputs[:2], inputs[2] if rest else None, 3, *inputs[4:])


def shifted(x: Tensor) -> Tensor:
    return x.roll(1, -1)


def rounded(x: Tensor) -> Tensor:
    return (x * 16).round() / 16


HOOKED: dict[str, Callable[[], nn.Module]] = {
    "activation": nn.ReLU,
    "norm": lambda: nn.BatchNorm2d(4),
    "norm over positions": lambda: nn.GroupNorm(1, 4),
    "nothing": nn.Identity,
    "dropout": nn.Dropout,
    "largest": lambda: nn.MaxPool2d(2),
    "average": lambda: nn.AvgPool2d(3, 2, 1),
    "mean": lambda: nn.AdaptiveAvgPool2d(1),
    "convolution of one tap": lambda: nn.Conv2d(4, 4, 1),
    "convolution": lambda: nn.Conv2d(4, 4, 3, 2, 1),
    "shuffling": lambda: nn.ChannelShuffle(2),
    "sequence": lambda: nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()),
}


class Hooked(nn.Module):
    """A module with a hook, which a convolution of even positions reads."""

    def __init__(self, hooked: nn.Module) -> None:
        super().__init__()
        self.site, self.reads = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1, 2)
        self.hooked = hooked

    def forward(self, x):
        x = self.site(x).sigmoid()
        return self.reads(self.hooked(x + x.mean()))


def hooked_after(module: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
    def hook(_: nn.Module, given: Any, out: Any) -> Any:
        return change(out)

    module.register_forward_hook(hook)


def hooked_before(module: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
    module.register_forward_pre_hook(lambda _, given: change(given[0]))


@pytest.mark.parametrize("place", [hooked_after, hooked_before])
@pytest.mark.parametrize("change", [shifted, rounded])
@pytest.mark.parametrize("make", HOOKED.values(), ids=HOOKED)
def test_a_hook_is_given_what_it_is_for(make, change, place):
    model = Hooked(make())
    place(model.hooked, change)
    fused_alike(model.double().eval(), images(), ["site"])


def test_a_hook_on_each_element_asks_for_no_map_in_full():
    model: Any = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Sigmoid(), nn.Conv2d(4, 4, 1, 2))
    hooked_after(model[2], rounded)
    assert not fused_alike(model.double().eval(), images(), ["0"]).interpolations


@pytest.mark.parametrize("name", ["register_full_backward_hook", "register_full_backward_pre_hook"])
@pytest.mark.parametrize("change", [shifted, rounded])
def test_a_hook_of_gradients_is_given_what_it_is_for(change, name):
    model = Hooked(nn.ReLU()).double().eval()
    getattr(model.hooked, name)(lambda _, given, *more: (change(given[0]),))
    pooled = vp.apply(model, images(), ["site"])
    gradients = []
    for network in (pooled, vp.fuse(pooled, images())):
        x = images().requires_grad_()
        network(x).square().sum().backward()
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients)
