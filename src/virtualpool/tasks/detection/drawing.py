"""Boxes in an image, as pictures: a model's, and the marked ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from torch import Tensor

from virtualpool.tasks.detection.comparison import Comparison, Seen, name_of
from virtualpool.tasks.pictures import axes_in, figure_of, pixels_of, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = ("#0b6e99", "#c2410c", "#15803d", "#a21caf", "#b45309", "#4338ca")
"""Of the classes, in order and repeated; all are dark enough for white letters."""

_HEAD, _FOOT, _GAP = 30, 30, 12
"""In pixels: the line above an image, the one below, and the space beside it."""


def side_by_side(comparison: Comparison, classes: Sequence[str], path: Path, kind: str) -> None:
    """Draws both models' boxes in an image, beside each other, and says how to read it.

    Args:
        comparison: the image, and the boxes in it.
        classes: their names; the first has the label 1.
        path: the file to write.
        kind: its format, such as "jpeg".
    """
    wide, high = _size(comparison.image, at_least=480)
    figure = figure_of(2 * wide + 3 * _GAP, high + _HEAD + _FOOT)
    for left, seen in ((_GAP, comparison.original), (wide + 2 * _GAP, comparison.pooled)):
        axes = axes_in(figure, left, _FOOT, wide, high)
        counted = f"{len(seen)} box" if len(seen) == 1 else f"{len(seen)} boxes"
        axes.set_title(f"{seen.model}: {counted}", loc="left", fontsize=10, parse_math=False)
        _draw(axes, comparison, seen, classes)
    marked = "; thin: marked in the data" if len(comparison.objects.boxes) else ""
    legend = f"{comparison.agreed} found by both; dashed: found by this one alone{marked}"
    whole_wide, whole_high = pixels_of(figure)
    figure.text(_GAP / whole_wide, 10 / whole_high, legend, fontsize=8, color="#52606d")
    save(figure, path, kind, scale=1.5, quality=90)


def alone(
    comparison: Comparison, seen: Seen, classes: Sequence[str], file: BinaryIO, kind: str
) -> None:
    """Draws one model's boxes in an image, small, with nothing around it."""
    wide, high = _size(comparison.image, at_least=450, at_most=450)
    figure = figure_of(wide, high)
    _draw(axes_in(figure, 0, 0, wide, high), comparison, seen, classes)
    save(figure, file, kind, scale=1.4, quality=75)


def _size(image: Tensor, at_least: int, at_most: int = 900) -> tuple[float, float]:
    """Width and height in pixels at which an image is drawn."""
    high, wide = image.shape[-2:]
    drawn = min(max(wide, at_least), at_most)
    return drawn, drawn * high / wide


def _draw(axes: "Axes", comparison: Comparison, seen: Seen, classes: Sequence[str]) -> None:
    """An image with a model's boxes, the surest on top, and the marked ones."""
    high, wide = comparison.image.shape[-2:]
    axes.imshow(comparison.image.permute(1, 2, 0).numpy(), extent=(0, wide, high, 0), aspect="auto")
    for box in comparison.objects.boxes.tolist():
        _outline(axes, box, "white", width=0.7, around=1.7)
    order = seen.found["scores"].argsort()
    for place in order.tolist():
        label, score = int(seen.found["labels"][place]), float(seen.found["scores"][place])
        box, colour = seen.found["boxes"][place].tolist(), _COLOURS[(label - 1) % len(_COLOURS)]
        style = "solid" if seen.shared[place] else (0, (4, 3))
        _outline(axes, box, colour, width=1.6, style=style)
        _name(axes, box, f"{name_of(label, classes)} {score:.2f}", colour)
    axes.set_xlim(0, wide)
    axes.set_ylim(high, 0)


def _outline(
    axes: "Axes",
    box: list[float],
    colour: str,
    width: float,
    style: Any = "solid",
    around: float = 0,
) -> None:
    """A box; `around` is the width of a dark line under it, for a box drawn in white."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    left, top, right, bottom = box
    drawn = Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colour)
    drawn.set(linewidth=width, linestyle=style, joinstyle="miter")
    if around:
        drawn.set_path_effects([withStroke(linewidth=around, foreground="#1f2933")])
    axes.add_patch(drawn)


def _name(axes: "Axes", box: list[float], text: str, colour: str) -> None:
    """A box's name, above its left upper corner, or where there is room inside of the image."""
    left, top, right, _ = box
    is_at_top, is_at_right = top < 0.04 * axes.get_ylim()[0], left > 0.85 * axes.get_xlim()[1]
    axes.text(
        right if is_at_right else left,
        top,
        text,
        color="white",
        fontsize=7,
        parse_math=False,
        clip_on=True,
        verticalalignment="top" if is_at_top else "bottom",
        horizontalalignment="right" if is_at_right else "left",
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.2},
    )
