"""Operations that change their input: fused models see the changes that pooled ones see."""

from typing import Any

import pytest
import torch
from tests.fuse.checks import assert_same, fused_alike, images, pooled_and_fused, run
from torch import nn
from torch.nn import functional


class Net(nn.Module):
    """Two convolutions, the operations under test between them, and one of stride two behind."""

    def __init__(self, between: Any, *modules: nn.Module) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.inner = nn.ModuleList(modules)
        self.between = between

    def forward(self, x):
        return self.between(self, x)


def net(between: Any, *modules: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return Net(between, *modules).double().eval()


def after(change):
    """The change to the first convolution's output, which is read again afterwards."""

    def between(self, x):
        value = self.first(x)
        seen_before = self.second(value)
        changed = change(self, value)
        return self.last(changed) + self.last(value) + self.last(seen_before)

    return between


# Each changes its input, which is known by another name, too, and is read once more.
FUSED = {
    "relu_": lambda self, x: x.relu_(),
    "torch.relu_": lambda self, x: torch.relu_(x),
    "functional": lambda self, x: functional.relu(x, inplace=True),
    "functional leaky relu": lambda self, x: functional.leaky_relu(x, 0.3, inplace=True),
    "functional elu_": lambda self, x: functional.elu_(x, 0.5),
    "functional hardtanh": lambda self, x: functional.hardtanh(x, -0.2, 0.1, inplace=True),
    "mul_": lambda self, x: x.mul_(2),
    "add_ of itself": lambda self, x: x.add_(x),
    "one after another": lambda self, x: x.mul_(2).add_(1).relu_(),
    "several": lambda self, x: (x.mul_(2), x.clamp_(-0.5, 0.5), x.sub_(1))[1],
    "clamp_": lambda self, x: x.clamp_(min=0.1),
    "zero_": lambda self, x: x.zero_().add_(0.5),
    "fill_": lambda self, x: x.fill_(0.5),
    "copy_": lambda self, x: x.copy_(x.flip(3)),
    "masked_fill_": lambda self, x: x.masked_fill_(x < 0.1, 0.3),
    "out": lambda self, x: torch.mul(x, 3, out=x),
    "module of functions": lambda self, x: self.inner[0](x),
}
MODULES = [
    nn.ReLU(inplace=True), nn.ReLU6(inplace=True), nn.Hardtanh(-0.3, 0.2, inplace=True),
    nn.LeakyReLU(0.3, inplace=True), nn.ELU(0.5, inplace=True), nn.CELU(0.5, inplace=True),
    nn.SELU(inplace=True), nn.SiLU(inplace=True), nn.Mish(inplace=True),
    nn.Hardswish(inplace=True), nn.Hardsigmoid(inplace=True), nn.Threshold(0.1, 0.4, inplace=True),
    nn.RReLU(inplace=True), nn.Dropout(inplace=True),
    nn.Sequential(nn.Identity(), nn.ReLU(inplace=True)),
]  # fmt: skip


class Doubling(nn.Module):
    """A user's own module, which changes its input."""

    def forward(self, x):
        return x.mul_(2)


class Silent(nn.Module):
    """Changes its input and returns something else; of its arguments nothing is known."""

    def forward(self, *given):
        given[0].mul_(2)
        return given[0] + 1


@pytest.mark.parametrize("change", FUSED.values(), ids=FUSED)
def test_the_change_is_seen_by_who_comes_later(change):
    with torch.no_grad():
        report = fused_alike(net(after(change), Doubling()), images(), others=[images(9, 16)])
    assert not report.left


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_modules(module):
    model = net(after(lambda self, x: self.inner[0](x)), module)
    report = fused_alike(model, images(), others=[images(9, 16)])
    assert not report.left


def test_who_came_before_sees_the_value_as_it_was():
    def between(self, x):
        value = self.first(x)
        once = self.last(value)
        return once + self.last(value.relu_())

    assert not fused_alike(net(between), images()).left


def test_a_value_may_have_another_name():
    def between(self, x):
        value = self.first(x)
        other = self.inner[0](value)
        other.relu_()
        return self.last(value)

    with torch.no_grad():
        assert not fused_alike(net(between, nn.Identity()), images()).left


def viewed_before(self, x):
    value = self.first(x)
    view = value.flatten(2)
    value.relu_()
    return self.last(value) + view.sum()


def view_of_a_part(self, x):
    value = self.first(x)
    value[:, :1].relu_()
    return self.last(value)


def silent(self, x):
    value = self.first(x)
    return self.last(self.inner[1](value)) + self.last(value)


def detached(self, x):
    value = self.first(x)
    value.detach().mul_(2)
    return self.last(value)


def the_argument(self, x):
    return self.last(self.first(x.mul_(2)))


def two_at_once(self, x):
    value, other = self.first(x), self.second(self.first(x))
    return self.last(self.inner[2](value, other)) + self.last(value) + self.last(other)


class Both(nn.Module):
    def forward(self, *given):
        return given[0].mul_(2) + given[1].mul_(3)


@pytest.mark.parametrize(
    ("between", "changed"),
    [
        (viewed_before, "relu_ changes flatten in place"),
        (view_of_a_part, "relu_ changes"),
        (silent, "inner_1 changes"),
        (detached, "mul_ changes"),
        (the_argument, "mul_ changes x in place"),
        (two_at_once, "inner_2 changes several values in place"),
    ],
)
def test_what_others_see_is_left_as_it_is_and_said(between, changed):
    model = net(between, nn.Identity(), Silent(), Both())
    with torch.no_grad():
        report = fused_alike(model, images(), others=[images(9, 16)])
    assert changed in report.left[""]


class Counting(nn.Module):
    """Changes a buffer of its own each time that it is called."""

    scale: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.last = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x):
        return self.last(self.first(x).relu()) * self.scale.mul_(2)


def test_a_buffer_is_changed_at_every_call():
    pooled, fused, report = pooled_and_fused(Counting().double().eval(), images())
    assert "mul_ changes scale in place" in report.left[""]
    for _ in range(3):
        assert_same(run(fused, images()), run(pooled, images()))


def test_the_input_stays_as_it_is():
    model = net(after(FUSED["relu_"]))
    _, fused, _ = pooled_and_fused(model, images())
    given = images()
    with torch.no_grad():
        fused(given)
    assert torch.equal(given, images())


def test_activations_write_where_a_convolution_has_just_written():
    chain = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(True)
    )
    _, fused, _ = pooled_and_fused(chain.double().eval(), images(20, 20), ["0"])
    assert "relu(conv2d, inplace = True)" in fused.evaluation.source.replace("conv2d_1", "conv2d")


@pytest.mark.parametrize("side", [20, 232])
@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU(True)])
def test_an_activation_writes_into_the_map_that_a_convolution_extends(activation, side):
    chain = nn.Sequential(
        nn.Conv2d(3, 2, 3, padding=1), activation, nn.Conv2d(2, 2, 3, stride=2, padding=1)
    )
    pooled, fused, _ = pooled_and_fused(chain.double().eval(), images(side, side), ["0"])
    assert "rectify = True" in fused.evaluation.source
    assert "relu" not in fused.evaluation.source
    assert_same(run(fused, images(side, side)), run(pooled, images(side, side)))


def test_an_activation_that_others_read_stays():
    class Skipping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3, padding=1)
            self.last = nn.Conv2d(4, 4, 3, stride=2, padding=1)

        def forward(self, x):
            x = self.first(x).relu()
            return self.last(x) + x[..., ::2, ::2]

    _, fused, _ = pooled_and_fused(Skipping().double().eval(), images(20, 20), ["first"])
    assert "rectify" not in fused.evaluation.source
