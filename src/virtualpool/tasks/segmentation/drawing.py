"""Masks as pictures: a colour for each class, and where two masks differ."""

import colorsys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from virtualpool.tasks.pictures import axes_in, figure_of, pixels_of, save
from virtualpool.tasks.segmentation.images import IGNORED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIFFERENT, ALIKE = "#d81b60", "#ececec"
"""Pixels at which two masks differ, and the others."""

UNNAMED = "#222222"
"""Pixels without a class."""

_COLOURS = (
    "#4363d8", "#9a6324", "#ffe119", "#911eb4", "#f58231", "#3cb44b", "#f032e6", "#469990",
    "#42d4f4", "#e6194b", "#bfef45", "#fabed4", "#808000", "#dcbeff", "#800000", "#aaffc3",
    "#000075", "#ffd8b1", "#fffac8",
)  # fmt: skip
"""Of the first classes, simple and distinct (Trubetskoy, 2017)."""

_WIDE, _LEGEND_LINE, _HEAD, _GAP = 180, 22, 24, 6
"""In pixels: a mask, a line of the legend, the titles, and the space between masks. Four masks fit
the width of a page, and their words are then as large as its own."""


def colour_of(number: int) -> str:
    """The colour of a class, the same in all pictures.

    >>> colour_of(0), colour_of(19)
    ('#4363d8', '#8930f2')
    """
    if number < len(_COLOURS):
        return _COLOURS[number]
    # Hues that stay apart however many there are.
    shade = colorsys.hsv_to_rgb(number * 0.618034 % 1, 0.5 + 0.3 * (number % 2), 0.95)
    return "#" + "".join(f"{round(255 * each):02x}" for each in shade)


def coloured(mask: Tensor, classes: int) -> Tensor:
    """A mask in colours.

    Args:
        mask: (H, W) int64; a number that is no class's has the colour of pixels without a class.
        classes: how many there are.

    Returns:
        (H, W, 3) uint8.

    >>> coloured(torch.tensor([[0, 255]]), 2).tolist()
    [[[67, 99, 216], [34, 34, 34]]]
    """
    table = _bytes([*map(colour_of, range(classes)), UNNAMED])
    is_class = (mask >= 0) & (mask < classes)
    return table[mask.where(is_class, classes)]


def differences(one: Tensor, other: Tensor) -> Tensor:
    """Where two masks (H, W) differ, as a picture (H, W, 3) uint8."""
    return _bytes([ALIKE, DIFFERENT])[(one != other).long()]


def legend(masks: Sequence[Tensor], classes: Sequence[str]) -> dict[str, str]:
    """The names in some masks with their colours, in the order of the classes.

    >>> legend([torch.tensor([[1, 255]])], ["sky", "road"])
    {'road': '#9a6324', 'no class': '#222222'}
    """
    found = set(torch.cat([mask.unique() for mask in masks]).tolist())
    named = {name: colour_of(number) for number, name in enumerate(classes) if number in found}
    is_whole = found <= set(range(len(classes)))
    return named if is_whole else named | {"no class": UNNAMED}


def side_by_side(
    rows: Sequence[Mapping[str, Tensor]],
    classes: Sequence[str],
    path: Path | str,
    *,
    compared: tuple[str, str] | None = None,
    ignored: int = IGNORED,
) -> None:
    """Draws masks of the same images beside each other, with a legend and no photograph.

    Args:
        rows: of each image the masks (H, W) by what they are, such as "truth", "original" and
            "pooled"; all rows have the same names.
        classes: their names; the first has the number 0.
        path: the file to write; its suffix says the format, such as png or svg.
        compared: the names of two masks, whose differences are drawn in one more column.
        ignored: pixels with this number in the first mask are drawn as without a class in all.
    """
    kept = [_like_the_first(row, ignored) for row in rows]
    pictures = [_pictures(row, len(classes), compared) for row in kept]
    names = legend([mask for row in kept for mask in row.values()], classes)
    if compared is not None:
        names |= {"they differ": DIFFERENT}
    high, wide = next(iter(kept[0].values())).shape
    drawn = _WIDE * high / wide
    columns = len(pictures[0])
    whole = columns * (_WIDE + _GAP) + _GAP
    lines = -(-len(names) // _entries(whole))
    foot = _LEGEND_LINE * lines + 2 * _GAP
    figure = figure_of(whole, _HEAD + len(rows) * (drawn + _GAP) + foot)
    for place, row in enumerate(pictures):
        bottom = foot + (len(rows) - 1 - place) * (drawn + _GAP)
        for column, (name, picture) in enumerate(row.items()):
            axes = axes_in(figure, _GAP + column * (_WIDE + _GAP), bottom, _WIDE, drawn)
            axes.imshow(picture.numpy(), interpolation="nearest", aspect="auto")
            if place == 0:
                axes.set_title(name, loc="left", fontsize=10, parse_math=False)
    _write_legend(figure, names)
    save(figure, Path(path), Path(path).suffix.lstrip("."), scale=2.5)


def _like_the_first(row: Mapping[str, Tensor], ignored: int) -> dict[str, Tensor]:
    is_ignored = next(iter(row.values())) == ignored
    return {name: mask.where(~is_ignored, ignored) for name, mask in row.items()}


def _pictures(
    row: Mapping[str, Tensor], classes: int, compared: tuple[str, str] | None
) -> dict[str, Tensor]:
    drawn = {name: coloured(mask, classes) for name, mask in row.items()}
    if compared is None:
        return drawn
    one, other = compared
    return drawn | {f"{one} and {other} differ": differences(row[one], row[other])}


def _entries(wide: float) -> int:
    """How many names fit a line of the legend."""
    return max(1, int(wide / 110))


def _write_legend(figure: "Figure", names: Mapping[str, str]) -> None:
    wide, high = pixels_of(figure)
    columns = _entries(wide)
    for place, (name, colour) in enumerate(names.items()):
        line, column = divmod(place, columns)
        left = _GAP + column * (wide - _GAP) / columns
        top = _LEGEND_LINE * (-(-len(names) // columns) - line)
        axes = axes_in(figure, left, top - 8, 12, 12)
        axes.imshow(_bytes([colour])[None].numpy(), aspect="auto")
        text = (left + 18) / wide, (top - 2) / high, name
        figure.text(*text, fontsize=9, va="center", parse_math=False)


def _bytes(colours: Sequence[str]) -> Tensor:
    """(N, 3) uint8 of colours such as "#4363d8"."""
    return torch.tensor([[*bytes.fromhex(each[1:])] for each in colours], dtype=torch.uint8)
