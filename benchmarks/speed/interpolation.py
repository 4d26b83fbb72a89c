"""The share of interpolation in a network's time: by the clock, and by the saving without it."""

import time
from collections.abc import Callable
from typing import Any

from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from benchmarks.common.engines import ENGINES, in_eager
from virtualpool.export.checking import difference
from virtualpool.measure import latency
from virtualpool.measure.latency import Mode
from virtualpool.operator.pool import virtual_pool

TOLERANCE = ENGINES["eager"].tolerance
FEWEST_PASSES = 7
TIMED_REPEATS = 100

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


def interpolated(model: Callable[[Tensor], Any], inputs: Tensor) -> list[Tensor]:
    """The maps that a network interpolates in a call, in their order."""
    maps: list[Tensor] = []
    with Interpolations(lambda x, seconds: maps.append(x)):
        model(inputs)
    return maps


def clocked(model: nn.Module, inputs: Tensor, duration_s: float) -> list[float]:
    """The share of interpolation in each of so many seconds' forward passes."""
    run, shares = in_eager(model, inputs), []
    run()
    begun = time.perf_counter()
    while len(shares) < FEWEST_PASSES or time.perf_counter() - begun < duration_s:
        spent: list[float] = []
        start = time.perf_counter()
        with Interpolations(lambda x, seconds, spent=spent: spent.append(seconds)):
            run()
        shares.append(sum(spent) / (time.perf_counter() - start))
    return shares


def given_maps(pooled: nn.Module) -> nn.Module:
    """A pooled network that takes its recovered maps after its images.

    It gives a list: the network's output, then the reduced maps.
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
        repeats=TIMED_REPEATS,
        duration_s=options.duration_s,
    )
    pairs = zip(timed["given"].samples_ms, timed["unfused"].samples_ms, strict=True)
    return [1 - given / written for given, written in pairs]
