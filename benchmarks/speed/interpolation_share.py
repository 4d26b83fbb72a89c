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
from benchmarks.common.tables import show, table
from benchmarks.speed.interpolation import clocked, interpolated, saved
from virtualpool.measure.spread import quartiles
from virtualpool.measure.timing import threads

HEAD = (
    "network", "batch", "maps interpolated, unfused / fused", "eager, unfused",
    "eager, fused", "eager, saved without", "compiled, saved without",
)  # fmt: skip


@torch.no_grad()
def main() -> None:
    options = _options()
    rows = [row(name, batch, options) for name in options.network for batch in options.batch]
    caption = "Of the time of a forward pass, median (quartiles):"
    made_with = setting(options.threads, ["torch", "torchvision"])
    show("\n".join([caption, "", table(HEAD, rows), made_with]), options.markdown)


def row(name: str, batch: int, options: argparse.Namespace) -> list[str]:
    """The cells of a network and a batch, in the order of `HEAD`."""
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
    counts = " / ".join(str(len(interpolated(it, inputs))) for it in (pooled, fused))
    cells = [name, str(batch), counts, *map(_share, shares)]
    print(cells, flush=True)
    return cells


def _share(shares: list[float]) -> str:
    lower, median, upper = (f"{100 * share:.1f}" for share in quartiles(shares))
    return f"{median} % ({lower} to {upper})"


def _options() -> argparse.Namespace:
    options = parser(__doc__)
    add_networks(options)
    options.set_defaults(network=["vgg16.features", "resnet50", ALL_CNN_C])
    add_timing(options)
    return options.parse_args()


if __name__ == "__main__":
    main()
