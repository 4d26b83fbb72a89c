"""The pictures' common parts: colours, boxes, arrows, and files that are always the same."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from virtualpool.files import replacing

INK, FAINT = "#1f2933", "#7b8794"
OUTSIDE = "white"
REDUCED, MEAN, COPY, NEGATED, KERNEL = "#fbc96b", "#fff1cf", "#d5e8f5", "#f6c7bd", "#e3dcf3"
SIZE, SMALL = 10, 8.5
"""Of letters, in points."""

_INCHES_PER_UNIT = 0.4

Point = tuple[float, float]


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty picture in which x goes to the right and y goes down, both from 0."""
    figure = Figure(figsize=(width * _INCHES_PER_UNIT, height * _INCHES_PER_UNIT))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return figure, axes


def box(
    axes: Axes, centre: Point, text: str, colour: str, size: Point = (1.1, 0.9), edge: str = "-"
) -> None:
    """A rectangle with a text in it; `edge` is a line style of matplotlib's."""
    x, y = centre
    width, height = size
    corner = x - width / 2, y - height / 2
    axes.add_patch(
        Rectangle(corner, width, height, facecolor=colour, edgecolor=INK, linestyle=edge, zorder=2)
    )
    write(axes, centre, text)


def write(
    axes: Axes, place: Point, text: str, size: float = SIZE, colour: str = INK, side: str = "center"
) -> None:
    """A text whose left, center or right is at a place."""
    axes.text(
        *place, text, fontsize=size, color=colour, horizontalalignment=side,
        verticalalignment="center", zorder=4,
    )  # fmt: skip


def label(axes: Axes, place: Point, text: str, size: float = SMALL) -> None:
    """A text on a line, which it interrupts."""
    axes.text(
        *place, text, fontsize=size, color=INK, horizontalalignment="center",
        verticalalignment="center", zorder=3,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2},
    )  # fmt: skip


def arrow(axes: Axes, start: Point, end: Point, colour: str = FAINT, bend: float = 0) -> None:
    """An arrow; with a bend it is an arc, of which `bend` is the height by its length."""
    style = {
        "arrowstyle": "-|>",
        "color": colour,
        "linewidth": 1.2,
        "shrinkA": 0,
        "shrinkB": 0,
        "connectionstyle": f"arc3,rad={bend}",
    }
    axes.annotate("", xy=end, xytext=start, arrowprops=style, zorder=1)


def legend(axes: Axes, corner: Point, meanings: Mapping[str, str]) -> None:
    """What each colour means, one below the other."""
    left, top = corner
    for line, (colour, meaning) in enumerate(meanings.items()):
        edge = ":" if colour == OUTSIDE else "-"
        box(axes, (left, top + 0.8 * line), "", colour, (0.8, 0.5), edge)
        write(axes, (left + 0.7, top + 0.8 * line), meaning, side="left")


def number(value: float) -> str:
    """A number with a real minus sign."""
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def save(figure: Figure, path: Path) -> None:
    """Writes an SVG whose bytes depend on the picture and the version of matplotlib alone."""
    # Else the names inside are drawn by chance.
    fixed = matplotlib.rc_context({"svg.hashsalt": "virtualpool", "svg.fonttype": "path"})
    with fixed, replacing(path) as beside:
        figure.savefig(beside, format="svg", metadata={"Date": None, "Creator": None})
