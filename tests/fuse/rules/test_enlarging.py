"""Enlarged maps of recovered ones: at even positions alone, and read by a convolution."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.fuse.chains import chains_alike
from tests.fuse.checks import assert_same, fused_alike, images, pooled_and_fused, run
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
GROUPS = ("nearest", "bilinear", "transposed", "shuffled", "bicubic")


def of_group(group: str, cases: dict[str, Any]) -> dict[str, Any]:
    return {name: case for name, case in cases.items() if name.startswith(group)}


def behind_a_site(enlarges: Any, *reads: Any) -> list[Any]:
    return [nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), enlarges, *reads]


def channels(enlarges: Any) -> int:
    return enlarges(torch.zeros(1, 4, 6, 6)).shape[1]


@pytest.mark.parametrize("group", GROUPS)
def test_at_even_positions(group):
    chains = {}
    for name, build in of_group(group, BY_TWO | IN_FULL).items():
        enlarges = build()
        reads = nn.Sigmoid(), nn.Conv2d(channels(enlarges), 4, 1, 2)
        chains[name] = behind_a_site(enlarges, *reads)
    sites = [f"chains.{place}.0" for place in range(len(chains))]
    _, asked = chains_alike(chains, images(), sites, OTHERS)
    assert {name for name, by in asked.items() if not by} == {*of_group(group, BY_TWO)}


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


@pytest.mark.parametrize(
    ("enlarging", "kernels"),
    [
        ("nearest", KERNELS | OF_FULL),
        ("nearest by four", {name: KERNELS[name] for name in ("3", "3, stride 4")}),
        ("bilinear", KERNELS | OF_FULL),
    ],
)
def test_a_pooled_convolution_reads_the_map_before(enlarging, kernels):
    enlarges = BY_TWO[enlarging]
    chains = {
        name: behind_a_site(enlarges(), nn.Conv2d(4, 4, **kernel), nn.ReLU())
        for name, kernel in kernels.items()
    }
    _, asked = chains_alike(chains, images(), others=OTHERS)
    assert {name for name, by in asked.items() if by} <= {*OF_FULL}
    # It does so of any map, recovered or not.
    chains = {"3": behind_a_site(enlarges(), nn.Conv2d(4, 4, **KERNELS["3"]), nn.ReLU())}
    chains_alike(chains, images(), ["chains.0.3"], OTHERS)


def test_behind_any_other():
    chains = {}
    for name in [*IN_FULL, "transposed, 3", "transposed, 4", "shuffled"]:
        enlarges = (BY_TWO | IN_FULL)[name]()
        reads = nn.Conv2d(channels(enlarges), 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 1)
        chains[name] = behind_a_site(enlarges, *reads)
    chains_alike(chains, images(), others=OTHERS)


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


class Sizes(nn.Module):
    """Each way to tell a size."""

    def __init__(self) -> None:
        super().__init__()
        modes = ("bilinear", *["nearest"] * 3)
        self.nets = nn.ModuleList(map(Beside, SIZES.values(), modes))

    def forward(self, x):
        return [net(x) for net in self.nets]


def test_to_the_size_of_another_map():
    # Of an odd size, which no doubled one is, it is enlarged in full.
    others = [images(12, 13), images(9, 8)]
    report = fused_alike(Sizes().double().eval(), images(12, 16), others=others)
    assert [each.asked_by for each in report.interpolations] == [("output",)] * len(SIZES)
    model = Beside(SIZES["each"], "nearest").double().eval()
    report = fused_alike(model, images(13, 16), others=[images(12, 16)])
    assert "interpolate" in {who for each in report.interpolations for who in each.asked_by}


def test_in_half_precision_and_channels_last():
    enlarges = nn.Upsample(scale_factor=2, mode="bilinear")
    model = nn.Sequential(*behind_a_site(enlarges, nn.Conv2d(4, 4, 3, padding=1)))
    model = model.eval().to(memory_format=torch.channels_last).bfloat16()
    example = images().to(torch.bfloat16)
    pooled, fused, _ = pooled_and_fused(model, example)
    assert_same(run(fused, example), run(pooled, example), 0.05)


def test_two_convolutions_as_one():
    chains = {}
    for name in ("3", "3, no padding", "2", "3, stride 4", "3 by 1", "5"):
        bias = name != "2"
        reads = nn.Conv2d(4, 3, **(KERNELS | OF_FULL)[name], bias=bias), nn.ReLU()
        chains[name] = behind_a_site(nn.ConvTranspose2d(4, 4, 2, 2, bias=bias), *reads)
    _, asked = chains_alike(chains, images(), others=OTHERS)
    assert {name for name, by in asked.items() if by} <= {*OF_FULL}


def test_two_convolutions_stay_two_where_one_would_be_more_work():
    # The map before has many more channels than the one between.
    wide = nn.Conv2d(4, 32, 1), nn.ConvTranspose2d(32, 1, 2, 2), nn.Conv2d(1, 16, 3), nn.ReLU()
    chains = {"wide": [nn.Conv2d(3, 4, 3, padding=1), nn.Tanh(), *wide]}
    report, _ = chains_alike(chains, images(), others=OTHERS)
    assert ("chains.0.3",) in [each.asked_by for each in report.interpolations]


def to_size(rows: int, columns: int) -> Callable[[Tensor], Tensor]:
    return lambda x: functional.interpolate(
        x, size=(rows, columns), mode="bilinear", align_corners=True
    )


def of_its_shape(x: Tensor) -> Tensor:
    size = [2 * x.shape[2] - 1, 4 * x.shape[3] - 3]
    return functional.interpolate(x, size, None, "bilinear", True)


ALIGNED: dict[str, Any] = {
    "to an odd size": to_size(33, 41),
    "of a computed size": of_its_shape,
    "to a smaller one": to_size(7, 5),
    "to a single row": to_size(1, 3),
    "by a part more": nn.Upsample(scale_factor=(25 / 13, 3), mode="bilinear", align_corners=True),
    "by three": nn.UpsamplingBilinear2d(scale_factor=3),
    "by two": nn.UpsamplingBilinear2d(scale_factor=2),
    "to an even size": to_size(30, 41),
}  # fmt: skip
"""The last two give even sizes, of maps of 13x17: their even positions are cut out."""


@pytest.mark.parametrize("asked_for", ["full", "even"])
def test_aligned_corners_of_an_odd_map_are_cells(asked_for):
    reads = {
        "full": (),
        "even": (nn.Sigmoid(), nn.Conv2d(4, 4, 1, 2)),
    }[asked_for]
    chains = {name: behind_a_site(each, *reads) for name, each in ALIGNED.items()}
    sites = [f"chains.{place}.0" for place in range(len(chains))]
    others = [images(13, 16, batch=1), images(12, 17, batch=1), images(9, 11, batch=1)]
    report, asked = chains_alike(chains, images(13, 17), sites, others)
    assert not any(asked.values())
    assert len(report.fused) == len(sites)
    # Of an even size they are not, and it is recovered first.
    report, asked = chains_alike(chains, images(12, 17), sites, [images(13, 17, batch=1)])
    assert all(asked.values())


def test_even_positions_of_aligned_maps_that_were_never_recovered():
    chains = {}
    for name, each in ALIGNED.items():
        if name == "to a single row":  # such a map has no site
            continue
        reads = nn.Conv2d(4, 4, 1, 2), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()
        chains[name] = behind_a_site(each, nn.Sigmoid(), *reads)
    modules = [[it for it in chain if isinstance(it, nn.Module)] for chain in chains.values()]
    sites = [f"chains.{place}.{len(each) - 2}" for place, each in enumerate(modules)]
    chains_alike(chains, images(13, 17), sites, [images(12, 16, batch=1)])
