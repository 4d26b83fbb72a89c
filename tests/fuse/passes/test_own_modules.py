"""Modules of a user's own, without convolutions: seen through where that changes nothing."""

import pytest
import torch
from tests.fuse.checks import assert_same, fused_alike, images, pooled_and_fused, run
from torch import Tensor, nn
from torch.nn import functional

import virtualpool as vp
from virtualpool.fuse import report_of


class Gate(nn.Module):
    """Squeeze and excite with linear layers, as it is most often written."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.layers = nn.Sequential(nn.Linear(channels, 2), nn.ReLU(), nn.Linear(2, channels))

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, _, _ = x.size()
        gate = self.layers(self.pool(x).view(batch, channels)).sigmoid()
        return x * gate.view(batch, channels, 1, 1).expand_as(x)


class Shuffle(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        groups = x.view(batch, 2, channels // 2, height, width)
        return groups.transpose(1, 2).reshape(batch, channels, height, width)


class Scale(nn.Module):
    def __init__(self, channels: int, *, inplace: bool = False) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.rand(channels) + 0.5)
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        gamma = self.gamma.view(1, -1, 1, 1)
        return x.mul_(gamma) if self.inplace else x * gamma


class Both(nn.Module):
    """A module of the user's own in another."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale, self.gate = Scale(channels), Gate(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(self.scale(x)) + x


class TwoMaps(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.rand(channels, 1, 1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x * self.share + y * (1 - self.share)


class Kept(nn.Module):
    """Leaves a map behind for who wants to look at it."""

    def forward(self, x: Tensor) -> Tensor:
        self.last = x
        return x * 2


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * 2


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.sum() > 0 else x


class Optional(nn.Module):
    def forward(self, x: Tensor, factor: Tensor | None = None, power: int = 2) -> Tensor:
        return x * power if factor is None else x * factor


class Variadic(nn.Module):
    def forward(self, *maps: Tensor) -> Tensor:
        return maps[0] * 2


class Blur(nn.Module):
    """Has a buffer and no parameter, so of itself it says no dtype."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", torch.full((4, 1, 1, 1), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return torch.conv2d(x, self.kernel, groups=4)


class Silent(nn.Module):
    """Changes its input and returns something else."""

    def forward(self, x: Tensor) -> Tensor:
        x.mul_(2)
        return x + 1


class Picky(nn.Module):
    """Does not run on all values."""

    def forward(self, x: Tensor) -> Tensor:
        if x.abs().max() < 1e-6:
            return x * 2
        raise ValueError


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x * 2


class Dropped(nn.Module):
    """Dropout written by hand: another function in training."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(x, 0.5, self.training) * 2


class Net(nn.Module):
    """A site, a module, and a convolution that reads its result."""

    def __init__(self, own: nn.Module, takes: int = 1) -> None:
        super().__init__()
        self.site, self.other = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
        self.own, self.takes = own, takes
        self.reads = nn.Conv2d(4, 4, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        maps = (self.site(x).tanh(), self.other(x).tanh())[: self.takes]
        found = self.own(*maps)
        return self.reads(found[1] if isinstance(self.own, Pair) else found)


SEEN_THROUGH = {
    "a gate": Gate(4),
    "a shuffle": Shuffle(),
    "a scale": Scale(4),
    "a scale in place": Scale(4, inplace=True),
    "one in another": Both(4),
    "one in a sequence with linear layers": nn.Sequential(Scale(4), nn.Sequential(Gate(4))),
    "dropout in eval": Dropped(),
    "takes more": Optional(),
    "a kernel that is a buffer": Blur(),
    "a change in place": Silent(),
}
LEFT_WHOLE = {
    "leaves a map behind": Kept(),
    "counts": Counting(),
    "branches": Branching(),
    "takes any number": Variadic(),
    "gives two": Pair(),
}


@pytest.mark.parametrize("own", SEEN_THROUGH.values(), ids=SEEN_THROUGH)
def test_its_operations_read_the_reduced_map(own: nn.Module) -> None:
    model = Net(own).double().eval()
    report = fused_alike(model, images(), ["site"], others=[images(9, 9, batch=1)])
    assert (report.fused, report.interpolations) == (("site",), ())


def test_one_of_two_maps() -> None:
    model = Net(TwoMaps(4), takes=2).double().eval()
    report = fused_alike(model, images(), ["site", "other"])
    assert not report.interpolations


@pytest.mark.parametrize("own", LEFT_WHOLE.values(), ids=LEFT_WHOLE)
def test_what_does_more_than_operations_stays_whole(own: nn.Module) -> None:
    model = Net(own).double().eval()
    report = fused_alike(model, images(), ["site"])
    assert [each.sites for each in report.interpolations] == [("site",)]


def test_what_runs_on_some_values_only_stays_whole() -> None:
    model = Net(Picky()).double().eval()
    with torch.no_grad():
        for parameter in model.get_submodule("site").parameters():
            parameter.mul_(1e-9)
    report = fused_alike(model, images(), ["site"])
    assert [each.sites for each in report.interpolations] == [("site",)]


def test_what_it_leaves_behind_is_the_map() -> None:
    _, fused, _ = pooled_and_fused(Net(Kept()).double().eval(), images(), ["site"])
    run(fused, images())
    assert fused.own.last.shape == (2, 4, 12, 13)


def test_hooks_are_called() -> None:
    model = Net(Scale(4)).double().eval()
    pooled = vp.apply(model, images(), ["site"])
    seen = []
    own = pooled.get_submodule("own")
    own.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    fused = vp.fuse(pooled, images())
    seen.clear()
    run(fused, images())
    assert seen == [(2, 4, 12, 13)]


@pytest.mark.parametrize("own", [Gate(4), Scale(4), Shuffle(), Both(4)])
def test_its_parameters_are_trained(own: nn.Module) -> None:
    torch.manual_seed(0)
    pooled = vp.apply(Net(own).double().train(), images(), ["site"])
    fused = vp.fuse(pooled, images(), training=True)
    report = report_of(fused)
    assert report is not None
    assert not report.interpolations
    for model in (pooled, fused):
        model.zero_grad()
        model(images()).square().sum().backward()
    for (name, one), (_, other) in zip(
        fused.named_parameters(), pooled.named_parameters(), strict=True
    ):
        if not name.startswith("other"):
            assert one.grad is not None
            assert other.grad is not None
            assert_same(one.grad, other.grad, 1e-8)


def test_dropout_by_hand_still_drops_in_training() -> None:
    pooled = vp.apply(Net(Dropped()).double().train(), images(), ["site"])
    fused = vp.fuse(pooled, images(), training=True)
    assert_same(run(fused, images()), run(pooled, images()))
    assert not torch.equal(fused(images()), fused(images()))


def test_checkpoints_load_and_folded_parameters_follow() -> None:
    _, fused, _ = pooled_and_fused(Net(Both(4)).double().eval(), images(), ["site"])
    torch.manual_seed(1)
    other = Net(Both(4)).double().eval()
    fused.load_state_dict(other.state_dict())
    expected = vp.apply(other, images(), ["site"])
    assert_same(run(fused, images()), run(expected, images()))
