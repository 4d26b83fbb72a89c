"""Permuted maps: their rows and columns are other axes, and operations work on the last one.

ConvNeXt and the hierarchical transformers bring the channels of a map to the end, (N, H, W, C), for
operations on all channels of a position.
"""

from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from virtualpool.fuse.kernels.layer_norm import centred, divided
from virtualpool.fuse.questions.rule import Asked, Builder, Question, Rule, fallback, rule, rule_of
from virtualpool.fuse.questions.values import CHANNELS_FIRST, Values
from virtualpool.fuse.rules.pointwise import Pointwise
from virtualpool.graph.arguments import arguments_of
from virtualpool.operator.pool import Axes


@rule(torch.permute, "permute")
class Permutation(Rule):
    """Axes in another order, the batch first and rows before columns: each position is kept."""

    def axes(self, node: fx.Node, values: Values) -> Axes:
        """See `Rule`."""
        return _moved_axes(node, values) or CHANNELS_FIRST

    def is_interpolated(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        return self.answers_even(node, values) and _source(node) in values.interpolated

    def answers_even(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        return _moved_axes(node, values) is not None

    def asks(self, node: fx.Node, question: Question, values: Values) -> Asked:
        """See `Rule`."""
        return [(source, question) for source in node.all_input_nodes]

    def build(self, node: fx.Node, question: Question, builder: Builder) -> fx.Node:
        """See `Rule`."""
        return builder.copy(node, builder.even if question is Question.EVEN else builder.full)

    def size(self, node: fx.Node, builder: Builder) -> Any:
        """See `Rule`."""
        return builder.size(_source(node))


class OverChannels(Rule):
    """An operation along the last axis of a map, which has to be its channels."""

    def axes(self, node: fx.Node, values: Values) -> Axes:
        """See `Rule`."""
        return values.axes(_source(node)) or CHANNELS_FIRST

    def answers_even(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        axes = values.axes(_source(node))
        return axes is not None and 3 not in axes and values.axes(node) is not None

    def asks(self, node: fx.Node, question: Question, values: Values) -> Asked:
        """See `Rule`."""
        for source in node.all_input_nodes:
            yield source, question if source is _source(node) else Question.FULL

    def build(self, node: fx.Node, question: Question, builder: Builder) -> fx.Node:
        """See `Rule`."""
        source = _source(node) if question is Question.EVEN else None
        return builder.copy(node, lambda x: builder.even(x) if x is source else builder.full(x))

    def size(self, node: fx.Node, builder: Builder) -> Any:
        """See `Rule`."""
        return builder.size(_source(node))


@rule(nn.Linear, functional.linear, centred)
class Linear(OverChannels):
    """A linear function of the channels: like a convolution of 1x1, it keeps means."""

    def is_interpolated(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        return self.answers_even(node, values) and _source(node) in values.interpolated


@rule(nn.LayerNorm, functional.layer_norm, nn.RMSNorm, functional.rms_norm)
class ChannelNorm(OverChannels):
    """Layer norm over the channels of each position: it does not keep means."""

    def answers_even(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        given = arguments_of(node, ("input", "normalized_shape"), values.submodule(node))
        shape = given.get("normalized_shape")
        is_one_axis = isinstance(shape, tuple | list) and len(shape) == 1
        return is_one_axis and super().answers_even(node, values)


@rule(divided)
class Division(Pointwise):
    """The part of a layer norm that comes after the linear layer behind it."""


_PERMUTATION = Permutation()


@fallback
def _by_name(node: fx.Node, values: Values) -> Rule | None:
    # Importing torchvision is not cheap.
    kind = type(values.submodule(node))
    is_permute = (kind.__module__, kind.__name__) == ("torchvision.ops.misc", "Permute")
    return _PERMUTATION if is_permute else None


def _source(node: fx.Node) -> fx.Node:
    return node.args[0] if node.args else node.kwargs["input"]  # pyright: ignore


def _moved_axes(node: fx.Node, values: Values) -> Axes | None:
    """Where a permutation brings the rows and columns of a map; none if that is of no use.

    The rows and columns of a value that is never there at its even positions alone (an image whose
    channels come last, say) are left to who reads the result.
    """
    axes, order = values.axes(_source(node)), _order(node, values)
    if axes is None or order is None or not _has_even(_source(node), values):
        return None
    rows, columns = (order.index(axis) for axis in axes)
    return (rows, columns) if order[0] == 0 and rows < columns else None


def _has_even(value: fx.Node, values: Values) -> bool:
    return value in values.interpolated or rule_of(value, values).answers_even(value, values)


def _order(node: fx.Node, values: Values) -> list[int] | None:
    """Which axis comes first, and so on; none if that is computed."""
    module: Any = values.submodule(node)
    first, *rest = node.args[1:] or [node.kwargs.get("dims")]
    given: Any = [first, *rest] if isinstance(first, int) else first
    if module is not None:
        given = module.dims
    is_known = isinstance(given, tuple | list) and all(isinstance(axis, int) for axis in given)
    return [axis % 4 for axis in given] if is_known and len(given) == 4 else None
