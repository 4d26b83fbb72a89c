"""How the weight of each tap of a kernel is shared out among the cells of the reduced map."""

from dataclasses import dataclass

import torch
from drawing import KERNEL, MEAN, REDUCED, Point, arrow, box, canvas, label, number, write
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from virtualpool.fuse.kernels.folding import Axis, fold

_KERNEL, _FULL, _REDUCED, _FOLDED = 2.1, 4.0, 7.0, 8.9
"""Where the rows of the picture are."""


@dataclass(frozen=True)
class Folding:
    """A kernel along one axis.

    Attributes:
        taps: a letter each.
        padding: zero padding on each side.
    """

    taps: str
    padding: int

    @property
    def positions(self) -> list[int]:
        """The position that each tap reads, relative to the output's own."""
        return Axis(len(self.taps), self.padding, 1).positions

    @property
    def cells(self) -> list[int]:
        """The cells that the folded kernel reads, relative to the output's own."""
        axis = Axis(len(self.taps), self.padding, 1)
        return list(range(-axis.before, axis.cells - axis.before))

    @property
    def shares(self) -> list[list[float]]:
        """For each tap the part of its weight that each cell gets: the folding of a one there."""
        count = len(self.taps)
        one_at_each = torch.eye(count).view(count, 1, 1, count)
        return fold(one_at_each, (0, self.padding), (1, 1)).view(count, -1).tolist()

    @property
    def folded(self) -> list[str]:
        """The weight of each cell as a sum."""
        return [
            " + ".join(_term(*each) for each in zip(self.taps, column, strict=True) if each[1])
            for column in zip(*self.shares, strict=True)
        ]


def draw() -> Figure:
    """A kernel of three taps and one of five."""
    figure, axes = canvas(21, 9.8)
    for y, name in (
        (_KERNEL, "kernel"),
        (_FULL, "full map"),
        (_REDUCED, "reduced map"),
        (_FOLDED, "folded kernel"),
    ):
        write(axes, (0.3, y), name, side="left")
    _panel(axes, 7.9, "3 taps, padding 1", Folding("abc", 1))
    _panel(axes, 16.7, "5 taps, padding 2", Folding("abcde", 2))
    return figure


def _panel(axes: Axes, middle: float, title: str, folding: Folding) -> None:
    write(axes, (middle, 0.7), title, size=11)

    def place(position: int) -> float:
        return middle + 1.4 * position

    for tap, position in zip(folding.taps, folding.positions, strict=True):
        box(axes, (place(position), _KERNEL), tap, KERNEL)
        arrow(axes, (place(position), _KERNEL + 0.45), (place(position), _FULL - 0.45))
    for position in range(2 * folding.cells[0], 2 * folding.cells[-1] + 1):
        text, colour = ("mean", MEAN) if position % 2 else (_cell(position // 2), REDUCED)
        box(axes, (place(position), _FULL), text, colour, (1.3, 0.9))
    for tap, position, shares in zip(folding.taps, folding.positions, folding.shares, strict=True):
        for cell, share in zip(folding.cells, shares, strict=True):
            if share:
                start, end = (place(position), _FULL + 0.45), (place(2 * cell), _REDUCED - 0.45)
                arrow(axes, start, end)
                label(axes, _between(start, end, 0.35 if share == 1 else 0.5), _term(tap, share))
    for cell, weight in zip(folding.cells, folding.folded, strict=True):
        box(axes, (place(2 * cell), _REDUCED), _cell(cell), REDUCED, (1.3, 0.9))
        arrow(axes, (place(2 * cell), _REDUCED + 0.45), (place(2 * cell), _FOLDED - 0.45))
        box(axes, (place(2 * cell), _FOLDED), weight, KERNEL, (2.6, 0.9))


def _term(tap: str, share: float) -> str:
    return tap if share == 1 else f"{tap}/{1 / share:g}"


def _cell(index: int) -> str:
    sign = "+" if index > 0 else ""
    return f"x[i{sign}{number(index)}]" if index else "x[i]"


def _between(start: Point, end: Point, part: float) -> Point:
    return start[0] + part * (end[0] - start[0]), start[1] + part * (end[1] - start[1])
