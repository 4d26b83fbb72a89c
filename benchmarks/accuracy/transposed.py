"""Multiply-accumulates of interpolation and of a transposed convolution (the paper's supplement).

    python -m benchmarks.accuracy.transposed --markdown runs/transposed.md

As the paper counts, a mean of two samples is two multiply-accumulates and one of four is four; a
reduced map has as many cells of each of the three kinds that are interpolated as it has samples,
but for the last row and column.
"""

from torch import nn, zeros

import virtualpool as vp
from benchmarks.common.arguments import parser
from benchmarks.common.tables import section, show, table
from virtualpool.models import all_cnn_c

SIDE, CHANNELS, FILTERS, TAPS = 224, 3, 64, 3
"""The paper's example: the map's side and channels, the filters and taps of the convolution."""


def interpolation(side: int, channels: int) -> int:
    """Of a reduced map."""
    return side * side * channels * (2 + 2 + 4)


def transposed(side: int, channels: int, *, groups: int = 1) -> int:
    """Of a transposed convolution, 3x3, on the same map."""
    layer = nn.ConvTranspose2d(
        channels, channels, TAPS, stride=2, padding=1, output_padding=1, groups=groups
    )
    return vp.measure.macs(layer, zeros(1, channels, side, side))


def main() -> None:
    options = parser(__doc__)
    tables = [
        section("The paper's example", {"A map of 64x224x224 recovered:": _example()}),
        section("All-CNN-C, all sites pooled", {"Per image of 32x32:": _all_cnn_c()}),
    ]
    show("\n".join(tables), options.parse_args().markdown)


def _example() -> str:
    half = SIDE // 2
    printed = SIDE * SIDE * TAPS * TAPS * FILTERS * FILTERS
    pairs = {
        "as printed": (interpolation(half, CHANNELS), printed),
        "of the channels that are recovered": (interpolation(half, FILTERS), printed),
        "and transposed at the samples alone": (
            interpolation(half, FILTERS),
            transposed(half, FILTERS),
        ),
        "the same, channel by channel": (
            interpolation(half, FILTERS),
            transposed(half, FILTERS, groups=FILTERS),
        ),
    }
    rows = [
        [name, f"{ours:,}", f"{theirs:,}", f"{ours / theirs:.3%}"]
        for name, (ours, theirs) in pairs.items()
    ]
    return table(["", "interpolation", "transposed convolution", "share"], rows)


def _all_cnn_c() -> str:
    network, image = all_cnn_c().eval(), zeros(1, 3, 32, 32)
    pooled = vp.measure.macs(vp.apply(network, image, "all"), image)
    maps = [((site.out_shape[-1] + 1) // 2, site.out_shape[1]) for site in vp.sites(network, image)]
    added = {
        "interpolation": sum(interpolation(*map) for map in maps),
        "transposed convolutions": sum(transposed(*map) for map in maps),
        "the same, channel by channel": sum(
            transposed(side, channels, groups=channels) for side, channels in maps
        ),
    }
    rows = [[name, f"{macs:,}", f"{macs / pooled:.2%}"] for name, macs in added.items()]
    head = ["recovery", "added", f"part of the convolutions' {pooled:,}"]
    return table(head, rows)


if __name__ == "__main__":
    main()
