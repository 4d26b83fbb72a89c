"""Poolings of interpolated maps, and of maps that are asked for at even positions alone."""

from typing import Any

import pytest
import torch
from tests.fuse.checks import fused_alike, images
from torch import nn
from torch.nn import functional

import virtualpool as vp
from virtualpool.export.program import operators_of

ON_REDUCED: dict[str, Any] = {
    "max 2": nn.MaxPool2d(2),
    "max 2, stride 4": nn.MaxPool2d((2, 2), 4),
    "max 3": nn.MaxPool2d(3, 2, 1),
    "max 3, stride 4": nn.MaxPool2d(3, (4, 4), 1),
    "max 3, no padding": nn.MaxPool2d(3, 2),
    "max 3, no padding, rounded up": nn.MaxPool2d(3, 2, ceil_mode=True),
    "max 3, no padding, stride 4, rounded up": nn.MaxPool2d(3, 4, ceil_mode=True),
    "max 2, rounded up": nn.MaxPool2d(2, ceil_mode=True),
    "max, a function": lambda x: functional.max_pool2d(x, 2),
    "max, all by name": lambda x: functional.max_pool2d(
        input=x, kernel_size=3, stride=2, padding=1, dilation=1
    ),
    "max of torch": lambda x: torch.max_pool2d(x, [3, 3], [2, 2], [1, 1]),
    "average 2": nn.AvgPool2d(2),
    "average 2, stride 4": nn.AvgPool2d(2, (4, 4), count_include_pad=False),
    "average 3": nn.AvgPool2d(3, 2, 1),
    "average 3, stride 4": nn.AvgPool2d(3, 4, 1),
    "average, a function": lambda x: functional.avg_pool2d(x, 2),
    "mean": lambda x: x.mean((2, 3), keepdim=True),
    "mean, axes from the end": lambda x: torch.mean(x, dim=[-1, -2], keepdim=True),
    "mean, flat": lambda x: x.mean((2, 3))[:, :, None, None],
    "global": nn.AdaptiveAvgPool2d(1),
    "global, by axis": nn.AdaptiveAvgPool2d((1, 1)),
    "global, a function": lambda x: functional.adaptive_avg_pool2d(x, 1),
}
OTHERS: dict[str, Any] = {
    "max 2, stride 1": nn.MaxPool2d(2, 1),
    "max 2, stride 3": nn.MaxPool2d(2, 3),
    "max 2, two strides": nn.MaxPool2d(2, (2, 4)),
    "max 2, padding 1": nn.MaxPool2d(2, 2, 1),
    "max 2 by 3": nn.MaxPool2d((2, 3), 2),
    "max 5": nn.MaxPool2d(5, 2, 2),
    "max, dilated": nn.MaxPool2d(2, 2, dilation=2),
    "max 3, rounded up": nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    "max 2, stride 4, rounded up": lambda x: functional.max_pool2d(x, 2, 4, ceil_mode=True),
    "max 3, stride 1, rounded up": nn.MaxPool2d(3, 1, 1, ceil_mode=True),
    "max with places": lambda x: functional.max_pool2d(x, 2, return_indices=True)[0],
    "max there and back": lambda x: functional.max_unpool2d(
        functional.max_pool2d(x, 2),
        functional.max_pool2d(x, 2, return_indices=True)[1],
        [2, 2],
        output_size=x.shape[2:],
    ),
    "average 2, padding 1": nn.AvgPool2d(2, 2, 1),
    "average 2, padding 1 not counted": nn.AvgPool2d(2, 2, 1, count_include_pad=False),
    "average 3, padding not counted": nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "average 3, no padding": nn.AvgPool2d(3, 2),
    "average 3, stride 1": nn.AvgPool2d(3, 1, 1),
    "average, rounded up": nn.AvgPool2d(2, 2, ceil_mode=True),
    "average, other divisor": nn.AvgPool2d(2, 2, divisor_override=3),
    "average, stride 1": nn.AvgPool2d(2, 1),
    "power average": nn.LPPool2d(2, 2),
    "fractional": nn.FractionalMaxPool2d(2, output_size=4),
    "global max": nn.AdaptiveMaxPool2d(1),
    "adaptive": nn.AdaptiveAvgPool2d((2, 3)),
    "adaptive along an axis": nn.AdaptiveAvgPool2d((None, 1)),
    "mean of rows": lambda x: x.mean(2, keepdim=True),
    "mean of all": lambda x: x.mean() + x,
    "mean of channels, too": lambda x: x.mean((1, 2, 3), keepdim=True) + x,
    "mean in another dtype": lambda x: x.mean((2, 3), keepdim=True, dtype=torch.float64) + x,
    "sum": lambda x: x.sum((2, 3), keepdim=True),
}
BOTH = ON_REDUCED | OTHERS


class Net(nn.Module):
    """A site, a pooling, and a reader of its result, if any."""

    def __init__(self, pooling: Any, reads: Any) -> None:
        super().__init__()
        self.site, self.pooling, self.reads = nn.Conv2d(3, 4, 3, padding=1), pooling, reads

    def forward(self, x):
        return self.reads(self.pooling(self.site(x).relu()))


@pytest.mark.parametrize("pooling", BOTH.values(), ids=BOTH)
def test_of_an_interpolated_map(pooling):
    model = Net(pooling, nn.Identity()).double().eval()
    others = [images(9, 9), images(13, 8, batch=1), images(10, 14, batch=3)]
    report = fused_alike(model, images(), others=others)
    assert ("site" in report.fused) == (pooling in ON_REDUCED.values())


GLOBAL = [BOTH[name] for name in BOTH if ("mean" in name and "all" not in name) or "global" in name]
GLOBAL += [OTHERS["sum"], OTHERS["adaptive along an axis"]]
GLOBAL.remove(OTHERS["mean of channels, too"])
GLOBAL.remove(OTHERS["mean in another dtype"])


@pytest.mark.parametrize(
    ("pooling", "names"),
    [
        pytest.param(pooling, names, id=f"{name}-{names}")
        for name, pooling in BOTH.items()
        for names in ("all", ["reads"], ["site"])
        # Behind a global one there is but one position: no site.
        if names == ["site"] or pooling not in GLOBAL
    ],
)
def test_asked_for_at_even_positions(pooling, names):
    model = Net(pooling, nn.Conv2d(4, 4, 1)).double().eval()
    fused_alike(model, images(20, 21), names, others=[images(17, 24), images(22, 23)])


class Chain(nn.Module):
    """ResNet's beginning: the first pooling is asked for at even positions alone."""

    def __init__(self, pooling: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 7, 2, 3)
        self.pooling = pooling
        self.first, self.shortcut = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1, 2)
        self.second = nn.Conv2d(4, 4, 3, 2, 1)

    def forward(self, x):
        x = self.pooling(self.stem(x).relu())
        return self.shortcut(x) + self.second(self.first(x).relu())


@pytest.mark.parametrize("pooling", [nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2), nn.AvgPool2d(2)])
@pytest.mark.parametrize("size", [(30, 33), (47, 28)])
def test_where_a_residual_network_begins(pooling, size):
    model = Chain(pooling).double().eval()
    report = fused_alike(model, images(*size), ["stem", "first", "second"], others=[images(64, 61)])
    assert report.fused == ("stem", "first")


@pytest.mark.parametrize("pooling", [nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2)])
@pytest.mark.parametrize("size", [(12, 12), (11, 12), (13, 13)])
def test_what_follows_may_view_it(pooling, size):
    class Flat(Net):
        def forward(self, x):
            pooled = super().forward(x)
            return pooled.view(pooled.shape[0], -1)

    model = Flat(pooling, nn.Identity()).double().eval()
    assert not fused_alike(model, images(*size), others=[images(7, 9)]).interpolations


@pytest.mark.parametrize("kind", [nn.MaxPool2d, nn.AvgPool2d])
def test_windows_of_one_are_the_cells_themselves(kind: type[nn.Module]) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), kind(1, 2)).double().eval()
    fused_alike(model, images(12, 13), "all", others=[images(16, 9)])
    fused = vp.fuse(vp.apply(model, images(12, 13)), images(12, 13))
    program = torch.export.export(fused, (images(12, 13),))
    assert {*operators_of(program.graph)} == {"conv2d.default", "relu_.default"}
