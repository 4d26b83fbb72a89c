"""The share of interpolation in a pooled network's time; the paper has 4.7 %.

    python benchmarks/interpolation_share.py --markdown runs/interpolation_share.md

Two questions, all eligible sites pooled, channels last, float32:

By the clock: in eager mode, each call of `virtual_pool` is timed where it stands, as a part of the
forward pass that it is in. On a CPU nothing runs ahead of the clock. So are the calls that fusing
has left.

By what is saved: the network unfused is timed interleaved with itself where every recovered map is
an argument that lies ready, computed before from the same images. Each convolution does the same
work on the same values, and each reduced map is computed, and given back so that no compiler leaves
it out; only the interpolation between the two is missing. A compiled network has no calls that
could be timed, for its interpolation is one loop with what surrounds it, so there is only this
answer. It is low rather than high: a map that was computed long before is read from memory, one
that was just interpolated may still be in a cache. Of a fused network, which reads reduced maps, no
such pair can be made.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from arguments import add_networks, add_timing, parser
from differences import difference
from engines import ENGINES, in_eager
from networks import ALL_CNN_C, images, network, usual_side
from setting import setting
from tables import show, table
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

import virtualpool as vp
from virtualpool.measure import latency
from virtualpool.measure.latency import Mode
from virtualpool.measure.spread import quartiles
from virtualpool.measure.timing import threads
from virtualpool.operator.pool import virtual_pool

HEAD = (
    "network", "batch", "maps interpolated, unfused / fused", "eager, unfused",
    "eager, fused", "eager, saved without", "compiled, saved without",
)  # fmt: skip
TOLERANCE = ENGINES["eager"].tolerance
FEWEST_PASSES = 7
TIMED_ROUNDS = 100

Tell = Callable[[Tensor, float], Any]


class Interpolations(TorchFunctionMode):
    """Tells of every map that is interpolated while the block runs, and the seconds that it took.

    Args:
        tell: is told.
    """

    def __init__(self, tell: Tell) -> None:
        super().__init__()
        self._tell = tell

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """See `torch.overrides`: runs an operation, `virtual_pool` as a whole."""
        start = time.perf_counter()
        result = func(*args, **(kwargs or {}))
        if func is virtual_pool:
            self._tell(result, time.perf_counter() - start)
        return result


def interpolated(model: nn.Module, inputs: Tensor) -> list[Tensor]:
    """The maps that a network interpolates in a call, in their order."""
    maps: list[Tensor] = []
    with Interpolations(lambda x, seconds: maps.append(x)):
        model(inputs)
    return maps


def clocked(model: nn.Module, inputs: Tensor, seconds: float) -> list[float]:
    """The share of interpolation in each of so many seconds' forward passes."""
    run, shares = in_eager(model, inputs), []
    run()
    begun = time.perf_counter()
    while len(shares) < FEWEST_PASSES or time.perf_counter() - begun < seconds:
        spent: list[float] = []
        start = time.perf_counter()
        with Interpolations(lambda x, seconds, spent=spent: spent.append(seconds)):
            run()
        shares.append(sum(spent) / (time.perf_counter() - start))
    return shares


def given_maps(pooled: nn.Module) -> nn.Module:
    """A pooled network that takes its recovered maps after its images.

    It gives a list: what the network gives, then the reduced maps.
    """
    traced = fx.symbolic_trace(pooled)
    graph = traced.graph
    recoveries = graph.find_nodes(op="call_function", target=virtual_pool)
    (output,) = graph.find_nodes(op="output")
    output.args = ([output.args[0], *(recovery.args[0] for recovery in recoveries)],)
    (last,) = graph.find_nodes(op="placeholder")
    for index, recovery in enumerate(recoveries):
        with graph.inserting_after(last):
            last = graph.placeholder(f"recovered_{index}")
        recovery.replace_all_uses_with(last)
        graph.erase_node(recovery)
    graph.eliminate_dead_code()
    traced.recompile()
    return traced


def saved(pooled: nn.Module, inputs: Tensor, mode: Mode, options: Any) -> list[float]:
    """The part of the time that a network saves whose recovered maps lie ready."""
    arguments, without = (inputs, *interpolated(pooled, inputs)), given_maps(pooled)
    if difference(without(*arguments)[0], pooled(inputs)) > TOLERANCE:
        raise SystemExit("with its recovered maps given, the network gives something else")
    timed = latency(
        {"unfused": pooled, "given": (without, arguments)},
        inputs,
        mode=mode,
        threads=options.threads,
        rounds=TIMED_ROUNDS,
        seconds=options.seconds,
    )
    pairs = zip(timed["given"].samples_ms, timed["unfused"].samples_ms, strict=True)
    return [1 - given / written for given, written in pairs]


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
            clocked(pooled, inputs, options.seconds),
            clocked(fused, inputs, options.seconds),
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
