"""Operations along the channels: concatenation, parts, shuffling."""

import operator
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from virtualpool.fuse.questions.rule import Asked, Builder, Question, Rule, rule
from virtualpool.fuse.questions.sizes import even_positions
from virtualpool.fuse.questions.values import Values


class _Channels(Rule):
    """An operation that moves channels, the same at every position."""

    def is_interpolated(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        return self.answers_even(node, values) and values.interpolated.issuperset(
            node.all_input_nodes
        )

    def asks(self, node: fx.Node, question: Question, values: Values) -> Asked:
        """See `Rule`."""
        return [(source, question) for source in node.all_input_nodes]

    def build(self, node: fx.Node, question: Question, builder: Builder) -> fx.Node:
        """See `Rule`."""
        return builder.copy(node, builder.even if question is Question.EVEN else builder.full)

    def size(self, node: fx.Node, builder: Builder) -> Any:
        """See `Rule`."""
        return builder.size(node.all_input_nodes[0])


@rule(torch.cat, torch.concat, torch.concatenate)
class Concatenation(_Channels):
    """Maps beside each other."""

    def answers_even(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        sizes = {values.size(source) for source in node.all_input_nodes}
        return _axis(node) in _CHANNELS and len(sizes) == 1 and None not in sizes


@rule(torch.chunk, "chunk", torch.split, "split")
class Parts(_Channels):
    """Maps taken apart."""

    def answers_even(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        are_taken = all(
            user.target is operator.getitem and isinstance(user.args[1], int) for user in node.users
        )
        source, *sizes = node.all_input_nodes
        is_of_a_map = values.size(source) is not None and not sizes
        return _axis(node, 2) in _CHANNELS and is_of_a_map and are_taken


@rule(torch.narrow, "narrow")
class Narrow(_Channels):
    """Some channels of a map, from one on."""

    def answers_even(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        source, *numbers = node.all_input_nodes
        return _axis(node) in _CHANNELS and values.size(source) is not None and not numbers


@rule(operator.getitem)
class Item(_Channels):
    """One of the parts, or some channels of a map."""

    def answers_even(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        source, index = node.args
        if not isinstance(source, fx.Node) or node.all_input_nodes != [source]:
            return False
        if values.parts(source) is not None:
            return isinstance(index, int) and source.target in _PARTS
        return values.size(source) is not None and _is_of_channels(index)

    def build(self, node: fx.Node, question: Question, builder: Builder) -> fx.Node:
        """See `Rule`."""
        source, index = node.args
        assert isinstance(source, fx.Node)
        if question is Question.FULL or builder.has_even(source) or builder.values.size(source):
            return super().build(node, question, builder)
        # Another part is asked for in full, so all are there in full.
        return builder.call(
            even_positions, builder.call(operator.getitem, builder.full(source), index)
        )


@rule(functional.channel_shuffle, torch.channel_shuffle, nn.ChannelShuffle)
class Shuffle(_Channels):
    """Channels in another order."""

    def answers_even(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        return values.size(node) is not None


_CHANNELS = (1, -3)
_PARTS = (torch.chunk, "chunk", torch.split, "split")


def _is_of_channels(index: Any) -> bool:
    """Whether an index takes channels alone: `[:, 2:]`, `[:, :8, :, :]`, `[:, ::2, ...]`."""
    if not isinstance(index, tuple) or len(index) < 2 or not isinstance(index[1], slice):
        return False
    of_others = [each for each in index[2:] if each is not Ellipsis]
    return all(each == slice(None) for each in [index[0], *of_others])


def _axis(node: fx.Node, position: int = 1) -> Any:
    if "axis" in node.kwargs:
        return node.kwargs["axis"]
    return node.args[position] if len(node.args) > position else node.kwargs.get("dim", 0)
