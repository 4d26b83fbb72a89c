"""A cascade of a frontier's best fast model and the original."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from virtualpool.cascade.calibrating import Calibration, calibrated
from virtualpool.cascade.cascade import Cascade
from virtualpool.cascade.collecting import collected
from virtualpool.errors import VirtualPoolError

if TYPE_CHECKING:
    from virtualpool.search.frontier.frontier import Frontier
    from virtualpool.search.frontier.point import Point


def cascade(
    frontier: "Frontier",
    model: nn.Module,
    batches: Iterable[Any],
    *,
    max_drop: float,
    confidence: float,
    point: "Point | None",
    options: Mapping[str, Any],
) -> Cascade:
    """The cascade with the least expected time with one point, or any of the Pareto set."""
    faster = {each.name: each for each in ([point] if point else _faster(frontier))}
    models = {name: frontier.restore(model, point) for name, point in faster.items()}
    outputs, images = collected(models, model, batches)
    found = {
        name: calibrated(each, max_drop=max_drop, confidence=confidence, tests=len(models))
        for name, each in outputs.items()
    }
    best = min(found, key=lambda name: _time(faster[name], found[name]))
    made = Cascade(models[best], frontier.restore(model, frontier.original), found[best])
    return made.timed(images, **options)


def _faster(frontier: "Frontier") -> "list[Point]":
    found = [point for point in frontier.pareto if point.speedup.median > 1]
    if not found:
        raise VirtualPoolError(
            "No model of the frontier is faster than the original, so no cascade would be either. "
            "Search on, or have them timed here by Frontier.timed."
        )
    return found


def _time(point: "Point", calibration: Calibration) -> float:
    """The expected time of an image, relative to the original's."""
    return 1 / point.speedup.median + 1 - calibration.outcome.answered
