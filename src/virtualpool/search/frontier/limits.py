"""The limits that a model is picked by, and how far a point is outside of each."""

from collections.abc import Callable

from virtualpool.errors import VirtualPoolError
from virtualpool.search.frontier.point import Point


def limits(
    max_drop: float | None, min_speedup: float | None, max_latency_ms: float | None
) -> dict[str, Callable[[Point], float]]:
    """Of each limit that is given, how far a point is outside, as a part of the limit."""
    found: dict[str, Callable[[Point], float]] = {}
    if max_drop is not None:
        unit = max(abs(max_drop), 1e-3)
        found[f"max_drop={max_drop:g}"] = lambda point: (point.drop - max_drop) / unit
    if min_speedup is not None:
        found[f"min_speedup={min_speedup:g}"] = lambda point: 1 - point.speedup.median / min_speedup
    if max_latency_ms is not None:
        found[f"max_latency_ms={max_latency_ms:g}"] = lambda point: (
            point.latency.median_ms / max_latency_ms - 1
        )
    if not found:
        raise VirtualPoolError("pick needs a limit: give max_drop, min_speedup or max_latency_ms.")
    for name, value in (("min_speedup", min_speedup), ("max_latency_ms", max_latency_ms)):
        if value is not None and not value > 0:
            raise VirtualPoolError(f"{name} is {value}; give more than zero.")
    return found
