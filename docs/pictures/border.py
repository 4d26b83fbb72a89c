"""The cells beside a reduced map, and the values of the virtual positions there."""

import torch
from drawing import (
    COPY,
    FAINT,
    MEAN,
    NEGATED,
    OUTSIDE,
    REDUCED,
    SMALL,
    Point,
    arrow,
    box,
    canvas,
    legend,
    number,
    write,
)
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch.nn import functional

from virtualpool.fuse.kernels.borders import extended

_ROW = [[4.0, 2.0, 6.0]]
_MAP = [[4.0, 2.0, 6.0], [2.0, 8.0, 3.0], [5.0, 1.0, 7.0]]
_STEP = 1.2
"""The distance of two positions, or of two cells."""

Cell = tuple[float, str]
"""A value and the colour of its box."""


def draw() -> Figure:
    """A row of even width, one of odd width, and a map of even height and odd width."""
    figure, axes = canvas(21, 12.8)
    _row(axes, (0.3, 0.7), 6, "Even width: a copy after the last cell")
    _row(axes, (0.3, 7.2), 5, "Odd width: a negation after the last cell")
    _map(axes, (14.5, 0.7), (6, 5))
    meanings = {
        REDUCED: "a cell of the reduced map",
        NEGATED: "a cell negated",
        COPY: "a cell copied",
        MEAN: "mean of two cells",
        OUTSIDE: "outside of the map",
    }
    legend(axes, (14.95, 8.9), meanings)
    return figure


def _row(axes: Axes, corner: Point, width: int, title: str) -> None:
    left, top = corner
    numbers, full, reduced = top + 1.3, top + 2.2, top + 4.5
    write(axes, corner, title, size=11, side="left")
    write(axes, (left, numbers), "position", SMALL, FAINT, side="left")
    write(axes, (left, full), "full map", side="left")
    write(axes, (left, reduced), "reduced map,\nextended", side="left")
    (row,) = _extended(_ROW, (1, width), (0, 1))
    cells = {2 * index: cell for index, cell in enumerate(row, -1)}

    def place(position: int) -> float:
        return left + 3.4 + _STEP * (position + 2)

    for position, (value, colour) in cells.items():
        box(axes, (place(position), reduced), number(value), colour)
    for position in range(-1, max(cells)):
        # An even position reads one cell, an odd one those on both sides.
        read = sorted({position - position % 2, position + position % 2})
        value = sum(cells[each][0] for each in read) / len(read)
        is_inside = 0 <= position < width
        colour = (MEAN if position % 2 else REDUCED) if is_inside else OUTSIDE
        edge = "-" if is_inside else ":"
        box(axes, (place(position), full), number(value), colour, edge=edge)
        write(axes, (place(position), numbers), number(position), SMALL, FAINT)
        for each in read:
            arrow(axes, (place(each), reduced - 0.45), (place(position), full + 0.45))


def _map(axes: Axes, corner: Point, size: tuple[int, int]) -> None:
    left, top = corner
    title = f"Rows and columns alike:\n{size[0]} rows, {size[1]} columns"
    write(axes, corner, title, 11, side="left")
    for row, cells in enumerate(_extended(_MAP, size, (1, 1))):
        for column, (value, colour) in enumerate(cells):
            place = left + 0.6 + _STEP * column, top + 1.9 + 1.1 * row
            box(axes, place, number(value), colour)


def _extended(
    cells: list[list[float]], size: tuple[int, int], beside: tuple[int, int]
) -> list[list[Cell]]:
    """A reduced map with `beside` more cells above and below it, and to its left and right."""
    reduced = torch.tensor(cells)[None, None]
    ones = torch.ones_like(reduced)
    values = extended(reduced, size, beside, beside)
    signs = extended(ones, size, beside, beside)
    own = functional.pad(ones, (beside[1], beside[1], beside[0], beside[0]))
    return [
        [(value, _colour(sign, is_own == 1)) for value, sign, is_own in zip(*row, strict=True)]
        for row in zip(*(map[0, 0].tolist() for map in (values, signs, own)), strict=True)
    ]


def _colour(sign: float, is_own: bool) -> str:
    if is_own:
        return REDUCED
    return COPY if sign > 0 else NEGATED
