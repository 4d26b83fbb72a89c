"""Enlarged maps of recovered ones: at even positions alone, and read by a convolution."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.fuse.checks import fused_alike, images
from torch import Tensor, nn
from torch.nn import functional

# Whose even positions are computed of the map before, in its reduced form.
BY_TWO: dict[str, Callable[[], Any]] = {
    "nearest": lambda: nn.Upsample(scale_factor=2),
    "nearest, of its own class": lambda: nn.UpsamplingNearest2d(scale_factor=2),
    "nearest, a function": lambda: lambda x: functional.interpolate(x, scale_factor=2.0),
    "nearest, exact": lambda: nn.Upsample(scale_factor=(2, 2), mode="nearest-exact"),
    "nearest by four": lambda: nn.Upsample(scale_factor=4.0),
    "bilinear": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    "bilinear, a function": lambda: (
        lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    ),
    "bilinear, of a computed size": lambda: (
        lambda x: functional.interpolate(x, size=(2 * x.shape[2], x.shape[3] * 2), mode="bilinear")
    ),
    "transposed, 2": lambda: nn.ConvTranspose2d(4, 4, 2, 2),
    "transposed, 2 and no bias": lambda: nn.ConvTranspose2d(4, 4, 2, 2, bias=False),
    "transposed, 3": lambda: nn.ConvTranspose2d(4, 4, 3, 2, 1, 1),
    "transposed, 3, of an odd size": lambda: nn.ConvTranspose2d(4, 4, 3, 2, 1),
    "transposed, 3, without padding": lambda: nn.ConvTranspose2d(4, 4, 3, 2),
    "transposed, 4": lambda: nn.ConvTranspose2d(4, 4, 4, 2, 1),
    "transposed, 4, in groups": lambda: nn.ConvTranspose2d(4, 4, 4, 2, 1, groups=2),
    "transposed, 5": lambda: nn.ConvTranspose2d(4, 4, 5, 2, 2, 1),
    "transposed, 2 by 4": lambda: nn.ConvTranspose2d(4, 4, (2, 4), 2, (0, 1)),
    "transposed, cut": lambda: nn.ConvTranspose2d(4, 4, 2, 2, 1),
    "shuffled": lambda: nn.Sequential(nn.Conv2d(4, 16, 1), nn.PixelShuffle(2)),
    "shuffled, a function": lambda: lambda x: functional.pixel_shuffle(torch.cat([x, x], 1), 2),
}
IN_FULL: dict[str, Callable[[], Any]] = {
    "bilinear, aligned": lambda: nn.UpsamplingBilinear2d(scale_factor=2),
    "bilinear, by four": lambda: nn.Upsample(scale_factor=4, mode="bilinear"),
    "bilinear, other along columns": lambda: nn.Upsample(scale_factor=(2, 4), mode="bilinear"),
    "bilinear, to a size": lambda: nn.Upsample((30, 30), mode="bilinear"),
    "bilinear, by a part more": lambda: nn.Upsample(scale_factor=1.5, mode="bilinear"),
    "bilinear, smaller": lambda: nn.Upsample(scale_factor=0.5, mode="bilinear"),
    "bicubic": lambda: nn.Upsample(scale_factor=2, mode="bicubic"),
    "nearest, by three": lambda: nn.Upsample(scale_factor=3),
    "transposed, stride 3": lambda: nn.ConvTranspose2d(4, 4, 3, 3),
    "transposed, dilated": lambda: nn.ConvTranspose2d(4, 4, 3, 2, dilation=2),
    "transposed, 1": lambda: nn.ConvTranspose2d(4, 4, 1, 2),
    "shuffled by three": lambda: (
        lambda x: functional.pixel_shuffle(torch.cat([x, x, x[:, :1]], 1), 3)
    ),
}
OTHERS = [images(8, 11, batch=1), images(9, 10, batch=1)]


class Net(nn.Module):
    """A site, an enlargement, and what reads it."""

    def __init__(self, enlarges: Any, *reads: nn.Module) -> None:
        super().__init__()
        self.site, self.enlarges = nn.Conv2d(3, 4, 3, padding=1), enlarges
        self.reads = nn.Sequential(*reads)

    def forward(self, x):
        return self.reads(self.enlarges(self.site(x).tanh()))


def channels(enlarges: Any) -> int:
    return enlarges(torch.zeros(1, 4, 6, 6)).shape[1]


def asked(report: Any) -> set[str]:
    """Who needs the site's map in full."""
    return {who for each in report.interpolations for who in each.asked_by if "site" in each.sites}


@pytest.mark.parametrize("name", BY_TWO | IN_FULL)
def test_at_even_positions(name):
    torch.manual_seed(0)
    enlarges = (BY_TWO | IN_FULL)[name]()
    reads = nn.Sigmoid(), nn.Conv2d(channels(enlarges), 4, 1, 2)
    report = fused_alike(Net(enlarges, *reads).double().eval(), images(), ["site"], others=OTHERS)
    assert report.fused == (("site",) if name in BY_TWO else ())


KERNELS: dict[str, dict[str, Any]] = {
    "3": {"kernel_size": 3, "padding": 1},
    "3, no padding": {"kernel_size": 3},
    "2": {"kernel_size": 2},
    "2, stride 4": {"kernel_size": 2, "stride": 2},
    "3, stride 4": {"kernel_size": 3, "padding": 1, "stride": 2},
    "3 by 1": {"kernel_size": (3, 1), "padding": (1, 0)},
    "3, depthwise": {"kernel_size": 3, "padding": 1, "groups": 4, "bias": False},
    "3, dilated": {"kernel_size": 3, "padding": 1, "dilation": 3},
}
OF_FULL: dict[str, dict[str, Any]] = {
    "5": {"kernel_size": 5, "padding": 2},
    "3, padding 2": {"kernel_size": 3, "padding": 2},
    "2, padding 1": {"kernel_size": 2, "padding": 1},
}
FOLDED = ["nearest", "nearest by four", "bilinear"]


@pytest.mark.parametrize("enlarging", FOLDED)
@pytest.mark.parametrize("kernel", KERNELS | OF_FULL)
def test_a_pooled_convolution_reads_the_map_before(enlarging, kernel):
    torch.manual_seed(0)
    reads = nn.Conv2d(4, 4, **(KERNELS | OF_FULL)[kernel])
    model = Net(BY_TWO[enlarging](), reads, nn.ReLU()).double().eval()
    report = fused_alike(model, images(), others=OTHERS)
    assert not asked(report) or kernel in OF_FULL
    if kernel == "3":  # it does so of any map, recovered or not
        fused_alike(model, images(), ["reads.0"], others=OTHERS)


@pytest.mark.parametrize("enlarging", BY_TWO | IN_FULL)
def test_behind_any_other(enlarging):
    torch.manual_seed(0)
    enlarges = (BY_TWO | IN_FULL)[enlarging]()
    reads = nn.Conv2d(channels(enlarges), 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 1)
    fused_alike(Net(enlarges, *reads).double().eval(), images(), others=OTHERS)


class Beside(nn.Module):
    """An enlarged map beside the map that told its size."""

    def __init__(self, size: Callable[[Tensor], Any], mode: str) -> None:
        super().__init__()
        self.first, self.deep = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Conv2d(8, 4, 3, padding=1)
        self.size, self.mode = size, mode

    def forward(self, x):
        first = self.first(x).tanh()
        deep = self.deep(functional.max_pool2d(first, 2)).tanh()
        deep = functional.interpolate(deep, size=self.size(first), mode=self.mode)
        return self.last(torch.cat([deep, first], 1)).relu()


SIZES: dict[str, Callable[[Tensor], Any]] = {
    "its shape": lambda x: x.shape[2:],
    "its size": lambda x: x.size()[-2:],
    "each": lambda x: (x.shape[2], x.shape[-1]),
    "a list": lambda x: [x.size(2), x.size(3)],
}


@pytest.mark.parametrize(
    ("size", "mode"), [*((size, "nearest") for size in SIZES), ("its shape", "bilinear")]
)
def test_to_the_size_of_another_map(size, mode):
    model = Beside(SIZES[size], mode).double().eval()
    # Of an odd size, which no doubled one is, it is enlarged in full.
    report = fused_alike(model, images(12, 16), others=[images(12, 13), images(9, 8)])
    assert [each.asked_by for each in report.interpolations] == [("output",)]
    report = fused_alike(model, images(13, 16), others=[images(12, 16)])
    assert "interpolate" in {who for each in report.interpolations for who in each.asked_by}


def test_in_half_precision_and_channels_last():
    model = Net(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(4, 4, 3, padding=1))
    model = model.eval().to(memory_format=torch.channels_last)
    fused_alike_in_bfloat16(model)


def fused_alike_in_bfloat16(model: nn.Module) -> None:
    from tests.fuse.checks import assert_same, pooled_and_fused, run

    example = images().to(torch.bfloat16)
    pooled, fused, _ = pooled_and_fused(model.to(torch.bfloat16), example)
    assert_same(run(fused, example), run(pooled, example), 0.05)


@pytest.mark.parametrize("kernel", ["3", "3, no padding", "2", "3, stride 4", "3 by 1", "5"])
def test_two_convolutions_as_one(kernel):
    torch.manual_seed(0)
    bias = kernel != "2"
    reads = nn.Conv2d(4, 3, **(KERNELS | OF_FULL)[kernel], bias=bias)
    model = Net(nn.ConvTranspose2d(4, 4, 2, 2, bias=bias), reads, nn.ReLU()).double().eval()
    report = fused_alike(model, images(), others=OTHERS)
    assert not asked(report) or kernel in OF_FULL


def test_two_convolutions_stay_two_where_one_would_be_more_work():
    # The map before has many more channels than the one between.
    wide = nn.Sequential(nn.Conv2d(4, 32, 1), nn.ConvTranspose2d(32, 1, 2, 2)), nn.Conv2d(1, 16, 3)
    report = fused_alike(Net(*wide, nn.ReLU()).double().eval(), images(), others=OTHERS)
    assert ("enlarges.1",) in [each.asked_by for each in report.interpolations]
