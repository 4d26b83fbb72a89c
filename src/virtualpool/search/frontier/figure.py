"""A frontier's picture: the score against measured speed."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from virtualpool.errors import VirtualPoolError
from virtualpool.files import replacing
from virtualpool.search.frontier.pareto import unbeaten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from virtualpool.search.frontier.frontier import Frontier
    from virtualpool.search.frontier.point import Point

_INK, _FAINT, _LINE, _ORIGINAL, _LIMIT = "#1f2933", "#9aa5b1", "#0b6e99", "#c2410c", "#b45309"
_SMALLER = "#6b46a8"


def draw(frontier: "Frontier", path: Path) -> None:
    """Writes the picture, in the format that the file's suffix names.

    Raises:
        VirtualPoolError: the suffix is no format that matplotlib writes.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    known = figure.canvas.get_supported_filetypes()
    kind = path.suffix.removeprefix(".").lower()
    if kind not in known:
        raise VirtualPoolError(
            f"{path}: a picture's name ends with its format, one of {', '.join(sorted(known))}."
        )
    axes = figure.add_subplot()
    pareto = frontier.pareto
    axes.plot(
        [point.speedup.median for point in pareto],
        [point.accuracy for point in pareto],
        color=_LINE,
        linewidth=1.5,
        zorder=1,
    )
    axes.axhline(frontier.original.accuracy, color=_FAINT, linestyle=(0, (1, 3)), zorder=0)
    if frontier.half_resolution is not None:
        _mark_half_resolution(axes, frontier.half_resolution.median)
    ends = frontier.original, max(frontier.points, key=lambda point: point.speedup.median)
    between = [point for point in frontier.pareto if point not in ends]
    for point in frontier.points:
        _mark_unfused(axes, point, _colour(point, frontier))
        _mark(axes, point, _colour(point, frontier), is_above=point in between)
    if frontier.smaller:
        _draw_smaller(axes, frontier.smaller)
    _dress(axes, frontier)
    with replacing(path) as beside:
        figure.savefig(beside, format=kind, dpi=200)


def _colour(point: "Point", frontier: "Frontier") -> str:
    if point == frontier.original:
        return _ORIGINAL
    return _LINE if point in frontier.pareto else _FAINT


def _draw_smaller(axes: "Axes", smaller: "Sequence[Point]") -> None:
    """The unmodified model on smaller images, fine-tuned for as long: a line of its own."""
    line = unbeaten(smaller)
    axes.plot(
        [point.speedup.median for point in line],
        [point.accuracy for point in line],
        color=_SMALLER,
        linestyle="--",
        linewidth=1.5,
        label="the original on smaller images, fine-tuned",
        zorder=1,
    )
    for point in smaller:
        _mark(axes, point, _SMALLER, is_above=False)
    axes.legend(loc="lower left", frameon=False, fontsize=8.5, labelcolor=_INK)


def _mark_half_resolution(axes: "Axes", speedup: float) -> None:
    """A line for the unmodified model at half resolution, whose accuracy is not measured."""
    axes.axvline(speedup, color=_LIMIT, linestyle=(0, (2, 3)), linewidth=1.5, zorder=0)
    axes.annotate(
        "half resolution",
        (speedup, 0),
        xycoords=axes.get_xaxis_transform(),
        xytext=(-5, 5),
        textcoords="offset points",
        horizontalalignment="right",
        color=_LIMIT,
        fontsize=8.5,
    )


def _mark_unfused(axes: "Axes", point: "Point", colour: str) -> None:
    """A ring where a fused model was unfused, and a line from there to its own mark."""
    unfused = point.speedup_of(point.unfused)
    if unfused is None or not point.is_fused:
        return
    ends = unfused.median, point.speedup.median
    axes.plot(ends, [point.accuracy] * 2, color=colour, linewidth=0.8, alpha=0.6, zorder=1)
    axes.plot(
        unfused.median, point.accuracy,
        color=colour, marker="o", markersize=5, markerfacecolor="white", zorder=2,
    )  # fmt: skip


def _mark(axes: "Axes", point: "Point", colour: str, *, is_above: bool) -> None:
    speedup = point.speedup
    axes.errorbar(
        speedup.median,
        point.accuracy,
        xerr=[[speedup.median - speedup.lower], [speedup.upper - speedup.median]],
        yerr=point.standard_error,
        color=colour,
        marker="s" if point.is_smaller else "D" if point.weights is None else "o",
        markersize=7,
        elinewidth=1,
        capsize=2,
        zorder=2,
    )
    pooled = f", {len(point.plan.sites)} pooled" if point.plan.sites else ""
    if pooled and point.plan.image_scale != 1:
        pooled += f", images at scale {point.plan.image_scale:g}"
    # Between its ends the line has room above and to the right; all else has it below to the left.
    right, above = (7, 7) if is_above else (-7, -15)
    axes.annotate(
        f"{point.name}{pooled}",
        (speedup.median, point.accuracy),
        xytext=(right, above),
        textcoords="offset points",
        horizontalalignment="left" if is_above else "right",
        color=_INK,
        fontsize=8.5,
    )


def _dress(axes: "Axes", frontier: "Frontier") -> None:
    title = f"{frontier.unit.title} against measured speed"
    axes.set_title(title, loc="left", color=_INK, fontsize=12, pad=22)
    axes.text(
        0, 1.025, str(frontier.original.latency.setting),
        transform=axes.transAxes, color=_FAINT, fontsize=8,
    )  # fmt: skip
    any_fused = any(point.is_fused for point in frontier.points)
    rings = "; ring: unfused, before fusing" if any_fused else ""
    axes.set_xlabel(f"speedup over the original (median, quartiles{rings})", color=_INK)
    axes.set_ylabel(f"{frontier.unit.name} (± standard error)", color=_INK)
    axes.xaxis.set_major_formatter("{x:.3g}x")
    axes.grid(color="#e4e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_INK, length=0)
    axes.margins(x=0.18, y=0.14)
