"""The models that a search gave, each with its score and its measured speed: the user's knob."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from torch import nn

from virtualpool.cascade.cascade import Cascade
from virtualpool.documents import read_document, write_document
from virtualpool.errors import VirtualPoolError
from virtualpool.graph.image_scale import attach, resized
from virtualpool.graph.state import copy_of
from virtualpool.measure.latency import Latency, LatencyOptions, Speedup, latency
from virtualpool.measure.prepared import Timed
from virtualpool.measure.unit import Unit
from virtualpool.plan import plan_of
from virtualpool.schema import Some, converted
from virtualpool.search.frontier.cascading import cascade
from virtualpool.search.frontier.lead import lead
from virtualpool.search.frontier.limits import limits
from virtualpool.search.frontier.listing import columns, row
from virtualpool.search.frontier.pareto import unbeaten
from virtualpool.search.frontier.point import Point
from virtualpool.storage import load
from virtualpool.table import table

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass(frozen=True, repr=False)
class Frontier:
    """The models of a search: the original first, then one a round.

    Attributes:
        points: the models.
        directory: the points' files are relative to it.
        smaller: the unmodified model on smaller images, fine-tuned for as long, where the search
            was asked to compare with them. They are no part of the frontier: none is picked.
        missing: why there is no model for a size of smaller images, by its name.
    """

    points: tuple[Point, ...]
    directory: Path
    smaller: tuple[Point, ...] = ()
    missing: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        rows = [row(point, self.unit, point in self.pareto) for point in self.points]
        smaller = [row(point, self.unit, False) for point in self.smaller]
        return (
            f"Frontier in {self.directory} (* no other model is both faster and better)\n"
            f"{table(columns(self.unit), rows + smaller)}"
        )

    @property
    def original(self) -> Point:
        """The unmodified model."""
        return self.points[0]

    @property
    def unit(self) -> Unit:
        """The meaning of the scores and how to write them; guessed where it is not known."""
        return self.original.unit or Unit.guessed(point.accuracy for point in self.points)

    @property
    def half_resolution(self) -> Speedup | None:
        """How much faster the unmodified model is at half resolution, if that was measured.

        With all sites pooled a model has as much work as that, so it is the practical limit. It
        was timed interleaved with the last point, the one nearest to it.
        """
        found = (p.speedup_of(p.half_resolution) for p in reversed(self.points))
        return next((speedup for speedup in found if speedup), None)

    @property
    def pareto(self) -> tuple[Point, ...]:
        """The models that no other one beats, by rising speed.

        One model beats another if it is as accurate and as fast at least, and better in one of the
        two. Fast means the measured speedup: each latency is interleaved with the original's,
        while two rounds' may be hours apart.
        """
        return unbeaten(self.points)

    @property
    def lead(self) -> tuple[tuple[float, float], ...]:
        """How much higher pooled models score than models on smaller images, at equal speed.

        Each kind has a line of score against measured speedup: straight pieces between the models
        that no other one of the kind beats. The result has (speedup, difference) pairs at both ends
        of the speedups that both lines have and at every bend between. It is empty where they share
        no speedup.
        """
        return lead(_line(self.points[1:]), _line(self.smaller))

    def pick(
        self,
        *,
        max_drop: float | None = None,
        min_speedup: float | None = None,
        max_latency_ms: float | None = None,
    ) -> Point:
        """The best model within limits: the fastest if `max_drop` is given, else the most accurate.

        Args:
            max_drop: how much accuracy may be lost against the original, in the score's own unit
                (0.01 is one point of an accuracy between 0 and 1).
            min_speedup: how many times faster than the original it must be.
            max_latency_ms: the most milliseconds, by the median, in the setting of the search or of
                `timed`.

        Raises:
            VirtualPoolError: no limit is given, or no model is within all of them.
        """
        excess = limits(max_drop, min_speedup, max_latency_ms)

        def worst(point: Point) -> float:
            return max(over(point) for over in excess.values())

        within = [point for point in self.points if worst(point) <= 0]
        if not within:
            closest = min(self.points, key=worst)
            raise VirtualPoolError(
                f"No model is within {' and '.join(excess)}: the closest, {closest.name}, has a "
                f"drop of {closest.drop:.4f}, a speedup of {closest.speedup.median:.2f} and "
                f"{closest.latency.median_ms:.4g} ms. Loosen a limit, or search on."
            )
        if max_drop is not None:
            return max(within, key=lambda point: (point.speedup.median, point.accuracy))
        return max(within, key=lambda point: (point.accuracy, point.speedup.median))

    def restore(self, model: nn.Module, point: Point | str) -> nn.Module:
        """The model of a point, as a new model.

        Args:
            model: the user's own unmodified model; it is not changed.
            point: one of the points, or its name. One with an image scale resizes images itself;
                `virtualpool.load(model, file, resizes=False)` gives one for small images.

        Returns:
            A new model, with the weights of the point and in the form that its file gives.

        Raises:
            VirtualPoolError: the weights are missing or broken, or are another model's.
        """
        point = self.named(point)
        if point.weights is None:
            return copy_of(model)
        loaded = load(model, self.directory / point.weights)
        if plan_of(loaded).image_scale != point.plan.image_scale:
            attach(loaded, point.plan.image_scale)  # files of virtualpool 0.1 do not say it
        return loaded

    def named(self, name: Point | str) -> Point:
        """The point of a name; one of the models on smaller images has a name, too.

        Raises:
            VirtualPoolError: there is none.
        """
        if isinstance(name, Point):
            return name
        named = {point.name: point for point in (*self.points, *self.smaller)}
        if name not in named:
            raise VirtualPoolError(f"No model is named {name!r}; there are {', '.join(named)}.")
        return named[name]

    def timed(
        self, model: nn.Module, example_inputs: Any, **options: "Unpack[LatencyOptions]"
    ) -> "Frontier":
        """The same models with their latencies measured anew: on this machine, on these inputs.

        All are timed interleaved, each in the form that its file gives, and those on smaller images
        on such inputs. How fast the other form is, and the original at half resolution, is
        not measured, nor is energy.

        Args:
            model: the user's own unmodified model, where it is to run; it is not changed.
            example_inputs: the inputs for timing them.
            options: options of `virtualpool.measure.latency`.

        Returns:
            A new frontier with the same files. Latencies are in milliseconds a call.

        Raises:
            VirtualPoolError: a model's weights are missing or broken, or it cannot be timed.
        """
        models: dict[str, Timed] = {it.name: self.restore(model, it) for it in self.points}
        for it in self.smaller:
            models[it.name] = model, resized(example_inputs, it.plan.image_scale)
        latencies = latency(models, example_inputs, **options)
        baseline = latencies[self.original.name]
        points, smaller = (
            tuple(_timed(point, latencies[point.name], baseline) for point in group)
            for group in (self.points, self.smaller)
        )
        return replace(self, points=points, smaller=smaller)

    def cascade(
        self,
        model: nn.Module,
        calibration: Iterable[Any],
        *,
        max_drop: float = 0.0,
        confidence: float = 0.95,
        point: Point | str | None = None,
        **options: "Unpack[LatencyOptions]",
    ) -> Cascade:
        """A cascade: a fast classifier of the frontier answers where it is sure, the original else.

        Of the models that no other one beats, it takes the one with the least expected time, by
        the speedups here. Both models are then timed on this machine.

        Args:
            model: the user's own unmodified model; it is not changed.
            calibration: batches as of `Cascade.calibrated`, which also states the promise.
            max_drop: how much lower the share of right answers may be than the original's; 0 for
                no lost image in the calibration.
            confidence: the probability with which that is kept; several models share what it lacks.
            point: the fast model, or its name, where it is not to be chosen.
            options: of `virtualpool.measure.latency`; `batch` is the calibration's if not given.

        Raises:
            VirtualPoolError: no model is faster than the original, or the calibration is refused.
        """
        return cascade(
            self, model, calibration, max_drop=max_drop, confidence=confidence,
            point=None if point is None else self.named(point), options=options,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """A JSON-able value; files are relative to the frontier's directory."""
        return {
            "points": [point.to_json() for point in self.points],
            "smaller": [point.to_json() for point in self.smaller],
            "missing": self.missing,
        }

    def save(self, path: Path | str) -> None:
        """Writes the frontier as a JSON file, whole or not at all; weights stay where they are."""
        path = Path(path)
        points, smaller = (
            tuple(self._moved(point, path.parent) for point in group)
            for group in (self.points, self.smaller)
        )
        write_document(path, replace(self, points=points, smaller=smaller).to_json())

    @classmethod
    def load(cls, path: Path | str) -> "Frontier":
        """Reads a file of `save`; a file that is missing or is no frontier is refused."""
        folder = Path(path).parent
        return replace(read_document(path, cls.from_json), directory=folder)

    @classmethod
    def from_json(cls, value: Any) -> "Frontier":
        """The frontier of a JSON value, in no directory yet; one that is none is refused."""
        written = converted(value, _Written, "a frontier")
        points = tuple(map(Point.from_json, written.points))
        smaller = tuple(map(Point.from_json, written.smaller))
        return cls(points, Path(), smaller, written.missing)

    def plot(self, path: Path | str) -> None:
        """Draws the score against measured speedup; the file's suffix says whether PNG, SVG or PDF.

        Bars are quartiles of the speedup and standard errors of the score; the line joins the
        Pareto set. A ring is a fused model unfused; the upright line is the unmodified model on
        images at half resolution, without fine-tuning, whose accuracy is not measured. Where the
        search has compared with smaller images, these have a second line.
        """
        from virtualpool.search.frontier.figure import draw

        draw(self, Path(path))

    def _moved(self, point: Point, folder: Path) -> Point:
        if point.weights is None:
            return point
        weights = os.path.relpath(self.directory / point.weights, folder)
        return replace(point, weights=Path(weights).as_posix())


@dataclass(frozen=True)
class _Written:
    """A frontier in a file; older files, without a comparison, have the points only."""

    points: Annotated[list[dict[str, Any]], Some]
    smaller: list[dict[str, Any]] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)


def _line(points: Sequence[Point]) -> list[tuple[float, float]]:
    return [(point.speedup.median, point.accuracy) for point in unbeaten(points)]


def _timed(point: Point, measured: Latency, baseline: Latency) -> Point:
    return replace(
        point,
        latency=measured,
        baseline=baseline,
        speedup=measured.speedup_over(baseline),
        unfused=measured if point.unfused and not point.is_fused else None,
        fused=measured if point.is_fused else None,
        half_resolution=None,
        energy=None,
        energy_baseline=None,
        missing={},
    )
