"""The questions that go back through a network, and how each value is computed then."""

import itertools

import torch
from decided import Decided, Kind
from drawing import (
    FAINT,
    INK,
    OUTSIDE,
    REDUCED,
    SIZE,
    SMALL,
    Point,
    arrow,
    box,
    canvas,
    label,
    legend,
    write,
)
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from networks import examples
from torch import fx

from virtualpool.fuse import Question
from virtualpool.fuse.questions.sizes import even_positions

_COLOURS = {
    Kind.FULL: "#bfdbee",
    Kind.EVEN: "#c9e7c3",
    Kind.INTERPOLATED: REDUCED,
    Kind.RECOVERED: "#f19c86",
}
_LETTERS = {Question.FULL: "F", Question.EVEN: "E"}
_WIDTH, _HEIGHT, _STEP = 4.9, 1.1, 1.75
"""The size of a value's box, and the distance of two."""
_SQUARE = 0.34
"""The size of a position in a map that is drawn."""


def draw() -> Figure:
    """Three networks beside each other, computed from the top down, asked from the bottom up."""
    figure, axes = canvas(21, 21.6)
    for number, example in enumerate(examples()):
        _network(axes, (2.9 + 7.2 * number, 0.7), example.title, Decided.on(example))
    _grid(axes, (15.1, 15.4), Question.FULL, "asks in full")
    _grid(axes, (15.1, 18.2), Question.EVEN, "asks for the\neven positions")
    legend(axes, (0.9, 18.7), {_COLOURS[kind]: kind.value for kind in Kind})
    return figure


def _network(axes: Axes, top: Point, title: str, decided: Decided) -> None:
    write(axes, top, title, size=11)
    write(axes, (top[0], top[1] + 1.1), decided.summary.replace("; ", "\n"), SMALL, FAINT)
    lines = enumerate(decided.maps())
    places = {map: (top[0], top[1] + 2.7 + _STEP * line) for line, map in lines}
    for map, place in places.items():
        _value(axes, place, map, decided)
        for source, question in decided.asks(map):
            _question(axes, place, places[source], _LETTERS[question])


def _value(axes: Axes, place: Point, x: fx.Node, decided: Decided) -> None:
    if x.op == "output":
        box(axes, place, "output", "white", (_WIDTH, _HEIGHT))
        return
    text = f"{decided.operation(x)}\n{decided.size(x)}"
    box(axes, place, text, _COLOURS[decided.kind(x)], (_WIDTH, _HEIGHT))


def _question(axes: Axes, asker: Point, asked: Point, letter: str) -> None:
    """An arrow upwards; past other values it goes round them on the right."""
    if asker[1] - asked[1] <= _STEP:
        start, end = (asker[0], asker[1] - _HEIGHT / 2), (asked[0], asked[1] + _HEIGHT / 2)
        arrow(axes, start, end, INK)
        label(axes, (asker[0] + 0.45, (start[1] + end[1]) / 2), letter, SIZE)
        return
    near = asker[0] + _WIDTH / 2
    far = near + 0.9
    axes.plot([near, far, far], [asker[1], asker[1], asked[1]], color=INK, linewidth=1.2)
    arrow(axes, (far, asked[1]), (near, asked[1]), INK)
    label(axes, (far, (asker[1] + asked[1]) / 2), letter, SIZE)


def _grid(axes: Axes, corner: Point, question: Question, meaning: str) -> None:
    """The positions of a map that a question asks for."""
    asked = torch.full((6, 6), float(question is Question.FULL))
    even_positions(asked).fill_(1)
    left, top = corner
    for row, column in itertools.product(range(6), range(6)):
        place = left + _SQUARE * column, top + _SQUARE * row
        colour = FAINT if asked[row, column] else OUTSIDE
        box(axes, place, "", colour, (_SQUARE, _SQUARE))
    write(axes, (left + 2.4, top + 0.55), _LETTERS[question], 11, side="left")
    write(axes, (left + 2.4, top + 1.25), meaning, side="left")
