"""From a run to the figures of its page."""

from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

from virtualpool.measure.unit import Unit
from virtualpool.report import charts, wording
from virtualpool.report.energy import Mark, energy
from virtualpool.report.record import Record
from virtualpool.search.frontier.pareto import unbeaten
from virtualpool.search.frontier.point import Point

WIDE, PANEL, NARROW = 940, 450, 350
"""Widths in pixels: across the page, two side by side, on a phone."""


def figures(run: Record, picked: Point | None, unit: Unit) -> dict[str, Any]:
    """The page's figures, with their captions; figures without data are left out."""
    drawn: dict[str, Any] = {}
    if run.frontier:
        dots = _dots(run.points, run.frontier.pareto, picked, unit)
        smaller = _dots(run.frontier.smaller, unbeaten(run.frontier.smaller), picked, unit)
        half_resolution = run.frontier.half_resolution and run.frontier.half_resolution.median
        drawn["frontier"] = _drawn(
            lambda width: charts.frontier(dots, width, unit, half_resolution, smaller), WIDE
        )
        drawn["half_resolution_is_marked"] = half_resolution is not None
        drawn["any_fused"] = any(point.is_fused for point in run.points)
    if marks := _marks(run, picked, unit):
        title = charts.title(unit)
        drawn["energy"] = _drawn(lambda width: energy(marks, width, title), WIDE)
    if run.sensitivity and run.sensitivity.sites:
        bars = _bars(run, unit)
        drawn["sensitivity"] = _drawn(lambda width: charts.sensitivity(bars, width, unit), WIDE)
        drawn["any_before_pool"] = any(bar.before_pool for bar in bars)
        drawn["any_recoverable"] = any(bar.recoverable is not None for bar in bars)
        samples = run.sensitivity.baseline.samples
        drawn["method"] = run.sensitivity.method + (f"; {samples:,} samples" if samples else "")
    accuracy, loss = _curves(run, "accuracy", unit), _curves(run, "loss", unit)
    label = f"{unit.name} against the original{charts.points(unit)}"
    panels = []
    if accuracy:
        panels.append(_drawn(lambda width: charts.curves(accuracy, width, label, zero=True), PANEL))
    if loss:
        panels.append(_drawn(lambda width: charts.curves(loss, width, "training loss"), PANEL))
    rounds = accuracy or loss
    drawn["curves"] = panels
    drawn["legend"] = [
        {"label": curve.label, "shade": charts.shade(index, len(rounds))}
        for index, curve in enumerate(rounds)
    ]
    return drawn


def _drawn(draw: Callable[[float], Markup], wide: float) -> dict[str, Markup]:
    return {"wide": draw(wide), "narrow": draw(NARROW)}


def _dots(
    points: Sequence[Point], best: Sequence[Point], picked: Point | None, unit: Unit
) -> list[charts.Dot]:
    """Models of one line, which goes through the best."""
    pareto = [point.name for point in best]
    return [
        charts.Dot(
            label=wording.title(point.name).lower(),
            speed=point.speedup.median,
            speed_range=(point.speedup.lower, point.speedup.upper),
            score=point.accuracy * unit.factor,
            error=point.standard_error and point.standard_error * unit.factor,
            pareto=point.name in pareto,
            picked=point is picked,
            unfused=_speed_unfused(point),
            on_smaller=point.is_smaller,
        )
        for point in points
    ]


def _marks(run: Record, picked: Point | None, unit: Unit) -> list[Mark]:
    """The models whose energy was measured, with their share of the original's as it is now.

    The energies of two rounds may be hours apart, and each was measured interleaved with the
    original's: so each is shown as its part of the original's first energy.
    """
    first = run.points[0].energy if run.points else None
    return [
        Mark(
            label=wording.title(point.name).lower(),
            joules=share.median * first.median_j,
            quartiles=(share.lower * first.median_j, share.upper * first.median_j),
            score=point.accuracy * unit.factor,
            error=point.standard_error and point.standard_error * unit.factor,
            picked=point is picked,
        )
        for point in run.points
        if first and (share := point.energy_share)
    ]


def _speed_unfused(point: Point) -> float | None:
    speedup = point.speedup_of(point.unfused) if point.is_fused else None
    return speedup and speedup.median


def _bars(run: Record, unit: Unit) -> list[charts.Bar]:
    assert run.sensitivity is not None
    order = {name: place for place, name in enumerate(run.network_order)}
    return [
        charts.Bar(
            site=site.name,
            drop=site.drop * unit.factor,
            error=site.standard_error and site.standard_error * unit.factor,
            before_pool=site.before_pool,
            recoverable=_scaled(site.recoverable_drop, unit),
            recoverable_error=_scaled(site.recoverable_standard_error, unit),
        )
        for site in sorted(run.sensitivity.sites, key=lambda site: order.get(site.name, len(order)))
    ]


def _scaled(value: float | None, unit: Unit) -> float | None:
    return None if value is None else value * unit.factor


def _curves(run: Record, measure: str, unit: Unit) -> list[charts.Curve]:
    """Of each round that recorded it: accuracy relative to the original, or the loss as it was."""
    curves = []
    for index, records in enumerate(run.training, 1):
        values = [(line["step"], line[measure]) for line in records if measure in line]
        if measure == "accuracy" and run.points:
            original = run.points[0].accuracy
            values = [(step, (value - original) * unit.factor) for step, value in values]
        if values:
            curves.append(charts.Curve(f"round {index}", tuple(values)))
    return curves
