"""The virtual pool itself, and the sizes of maps: they ask for no map in full."""

from typing import Any

import torch
from torch import fx

from virtualpool.fuse.kernels.sites import NAME, observed
from virtualpool.fuse.questions.rule import Asked, Builder, Question, Rule, rule
from virtualpool.fuse.questions.values import Values
from virtualpool.operator.pool import Axes, cells, output_size, virtual_pool, window_size


@rule(virtual_pool)
class Recovery(Rule):
    """The virtual pool of y: E = y, F = virtual_pool(y)."""

    def is_interpolated(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        return True

    def answers_even(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        return True

    def asks(self, node: fx.Node, question: Question, values: Values) -> Asked:
        """See `Rule`."""
        reduced, size = node.args
        return [
            (source, Question.FULL) for source in (reduced, size) if isinstance(source, fx.Node)
        ]

    def build(self, node: fx.Node, question: Question, builder: Builder) -> fx.Node:
        """See `Rule`."""
        reduced = builder.full(node.args[0])  # pyright: ignore[reportArgumentType]
        if builder.values.training and NAME in node.meta:
            return builder.call(observed, reduced, node.meta[NAME])
        return reduced

    def size(self, node: fx.Node, builder: Builder) -> Any:
        """See `Rule`."""
        return fx.map_arg(node.args[1], builder.full)


@rule(cells)
class Cells(Rule):
    """The cells of a map, as they are activated behind a sum."""

    def asks(self, node: fx.Node, question: Question, values: Values) -> Asked:
        """See `Rule`."""
        return [(source, Question.EVEN) for source in node.all_input_nodes]

    def build(self, node: fx.Node, question: Question, builder: Builder) -> fx.Node:
        """See `Rule`."""
        return builder.even(node.args[0])  # pyright: ignore[reportArgumentType]


@rule(output_size)
class OutputSize(Rule):
    """The size that a site makes: of the size of its input alone."""

    def asks(self, node: fx.Node, question: Question, values: Values) -> Asked:
        """See `Rule`."""
        # A site that reads a permuted map takes other axes than its rows and columns for them.
        is_map = values.size(node.args[0]) is not None
        return [] if is_map else super().asks(node, question, values)

    def build(self, node: fx.Node, question: Question, builder: Builder) -> fx.Node:
        """See `Rule`."""
        source, *geometry = node.args
        if builder.values.size(source) is None:
            return super().build(node, question, builder)
        return builder.call(window_size, builder.size(source), *geometry)  # pyright: ignore


@rule("size", "dim", getattr)
class ShapeOf(Rule):
    """The shape, dtype or device of a value that is there at even positions only."""

    def asks(self, node: fx.Node, question: Question, values: Values) -> Asked:
        """See `Rule`."""
        source = node.args[0]
        if not isinstance(source, fx.Node):
            return []
        if (_is_shape(node) or _is_kind(node)) and values.grid(source) is not None:
            return [(source, Question.EVEN)]
        return super().asks(node, question, values)

    def build(self, node: fx.Node, question: Question, builder: Builder) -> fx.Node:
        """See `Rule`."""
        source = node.args[0]
        axes = builder.values.axes(source)
        if not isinstance(source, fx.Node) or axes is None:
            return builder.copy(node, builder.full)
        if _is_kind(node):
            return builder.copy(node, builder.some)
        if not _is_shape(node):
            return builder.copy(node, builder.full)
        shape = builder.call(_shape, builder.some(source), builder.size(source), axes)
        rest = node.args[1:] if node.op == "call_method" else ()
        return builder.call(_axis, shape, rest[0]) if rest else shape


def _is_kind(node: fx.Node) -> bool:
    return node.target == "dim" or node.args[1:] in (("dtype",), ("device",), ("ndim",))


def _is_shape(node: fx.Node) -> bool:
    if node.kwargs:
        return False
    return node.target == "size" or node.args[1:] == ("shape",)


def _shape(present: torch.Tensor, size: Axes, axes: Axes) -> torch.Size:
    shape = list(present.shape)
    shape[axes[0]], shape[axes[1]] = size
    return torch.Size(shape)


def _axis(shape: torch.Size, axis: int) -> int:
    return shape[axis]
