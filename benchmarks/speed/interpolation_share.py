"""The share of interpolation in a pooled network's time; the paper has 4.7 %.

    python -m benchmarks.speed.interpolation_share --markdown runs/interpolation_share.md

Two questions, all eligible sites pooled, channels last, float32:

By the clock: in eager mode, each call of `virtual_pool` is timed where it stands, as a part of the
forward pass that it is in. On a CPU nothing runs ahead of the clock. So are the calls that fusing
has left.

By the saving: the network unfused is timed interleaved with itself where every recovered map is
an argument that lies ready, computed before from the same images. Each convolution does the same
work on the same values, and each reduced map is computed, and given back so that no compiler leaves
it out; only the interpolation between the two is missing. A compiled network has no calls that
could be timed, for its interpolation is one loop with its neighbours, so there is only this
answer. It is low rather than high: a map that was computed long before is read from memory, one
that was just interpolated may still be in a cache. Of a fused network, which reads reduced maps, no
such pair can be made.
"""

import argparse

import torch

import virtualpool as vp
from benchmarks.common.arguments import add_networks, add_timing, parser
from benchmarks.common.networks import ALL_CNN_C, images, network, usual_side
from benchmarks.common.setting import setting
from benchmarks.common.tables import section, show, table
from benchmarks.speed.interpolation import clocked, interpolated, saved
from virtualpool.measure.spread import quartiles
from virtualpool.measure.timing import threads

MAPS = ("network", "batch", "unfused", "fused")
TIMES = (
    "network", "batch", "eager, unfused", "eager, fused", "eager, saved without",
    "compiled, saved without",
)  # fmt: skip


@torch.no_grad()
def main() -> None:
    options = _options()
    found = [rows(name, batch, options) for name in options.network for batch in options.batch]
    maps, medians, distances = zip(*found, strict=True)
    tables = {
        "Maps that are interpolated:": table(MAPS, maps),
        "Per cent of the time of a forward pass, medians:": table(TIMES, medians),
        "Points to the farther quartile:": table(TIMES, distances),
    }
    made_with = setting(options.threads, ["torch", "torchvision"])
    show(section("Interpolation's share of the time", tables, [made_with]), options.markdown)


def rows(name: str, batch: int, options: argparse.Namespace) -> tuple[list[str], ...]:
    """The rows of a network and a batch in the three tables."""
    side = usual_side(name)
    inputs = images(batch, side)
    pooled = vp.apply(network(name, side), inputs, "all")
    fused = vp.fuse(pooled, inputs)
    with threads(options.threads):
        shares = [
            clocked(pooled, inputs, options.duration_s),
            clocked(fused, inputs, options.duration_s),
            saved(pooled, inputs, "eager", options),
            saved(pooled, inputs, "compiled", options),
        ]
    counts = [str(len(interpolated(it, inputs))) for it in (pooled, fused)]
    spreads = [[100 * it for it in quartiles(each)] for each in shares]
    medians = [f"{median:.1f}" for _, median, _ in spreads]
    distances = [f"{max(median - low, high - median):.1f}" for low, median, high in spreads]
    found = tuple([name, str(batch), *cells] for cells in (counts, medians, distances))
    print(found, flush=True)
    return found


def _options() -> argparse.Namespace:
    options = parser(__doc__)
    add_networks(options)
    options.set_defaults(network=["vgg16.features", "resnet50", ALL_CNN_C])
    add_timing(options)
    return options.parse_args()


if __name__ == "__main__":
    main()
