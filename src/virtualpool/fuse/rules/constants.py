"""Maps with one value at all positions: zeros beside channels, and tensors filled like a map."""

from typing import Any

import torch
from torch import Tensor, fx

from virtualpool.fuse.questions.rule import Asked, Builder, Question, Rule, rule
from virtualpool.fuse.questions.values import Values
from virtualpool.operator.pool import Axes


@rule(torch.zeros, torch.ones, torch.full, "new_zeros", "new_ones", "new_full")
class Filled(Rule):
    """It is interpolated, and yet made in full, which costs no more; the even positions are a view.

    Of a map beside it, only dtype and device are asked.
    """

    def is_interpolated(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        return values.size(node) is not None

    def asks(self, node: fx.Node, question: Question, values: Values) -> Asked:
        """See `Rule`."""
        for source in node.all_input_nodes:
            is_map = values.grid(source) is not None
            yield source, Question.EVEN if is_map else Question.FULL

    def build(self, node: fx.Node, question: Question, builder: Builder) -> fx.Node:
        """See `Rule`."""
        return builder.copy(node, builder.some)


@rule(torch.zeros_like, torch.ones_like, torch.full_like)
class FilledLike(Filled):
    """Of the map beside it, the shape is asked as well."""

    def is_interpolated(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        return values.size(node.all_input_nodes[0]) is not None

    def build(self, node: fx.Node, question: Question, builder: Builder) -> fx.Node:
        """See `Rule`."""
        source = node.all_input_nodes[0]
        if builder.values.size(source) is None:
            return super().build(node, question, builder)
        shaped = builder.call(_shaped, builder.some(source), builder.size(source))
        return builder.copy(node, lambda each: shaped if each is source else builder.some(each))


def _shaped(x: Tensor, size: Axes) -> Any:
    """A map of another size, whose values nobody asks for."""
    return x[..., :1, :1].expand(*x.shape[:-2], *size)
