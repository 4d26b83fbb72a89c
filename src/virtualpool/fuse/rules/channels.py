"""Operations along the channels: concatenation, padding, parts, shuffling; strided slices."""

import operator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from virtualpool.fuse.questions.rule import Asked, Builder, Question, Rule, rule
from virtualpool.fuse.questions.sizes import ALL, Range, even_positions, sliced, sliced_size
from virtualpool.fuse.questions.values import Values
from virtualpool.graph.arguments import arguments_of


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
    """One of the parts, or some channels, rows and columns of a map.

    Every second row and column from the first on are the even positions.
    """

    def is_interpolated(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        cut = _cut_of(node, values)
        return (cut is None or cut.is_of_channels) and super().is_interpolated(node, values)

    def answers_even(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        return _cut_of(node, values) is not None or _is_of_parts(node, values)

    def asks(self, node: fx.Node, question: Question, values: Values) -> Asked:
        """See `Rule`."""
        cut = _cut_of(node, values)
        if cut is None:
            asked = question if _is_of_parts(node, values) else Question.FULL
            return [(source, asked) for source in node.all_input_nodes]
        reads_even = cut.strided(question).reads_even
        return [(cut.source, Question.EVEN if reads_even else Question.FULL)]

    def build(self, node: fx.Node, question: Question, builder: Builder) -> fx.Node:
        """See `Rule`."""
        cut = _cut_of(node, builder.values)
        if cut is not None:
            return _taken(cut.strided(question), builder)
        source, index = node.args
        assert isinstance(source, fx.Node)
        if question is Question.FULL or builder.has_even(source):
            return super().build(node, question, builder)
        # Another part is asked for in full, so all are there in full.
        return builder.call(
            even_positions, builder.call(operator.getitem, builder.full(source), index)
        )

    def size(self, node: fx.Node, builder: Builder) -> Any:
        """See `Rule`."""
        cut = _cut_of(node, builder.values)
        if cut is None or cut.is_of_channels:
            return super().size(node, builder)
        return builder.call(sliced_size, builder.size(cut.source), cut.rows, cut.columns)


@dataclass(frozen=True)
class _Cut:
    """Channels, rows and columns of a map."""

    source: fx.Node
    channels: tuple[int | None, ...]
    rows: Range
    columns: Range

    @property
    def is_of_channels(self) -> bool:
        """Whether all positions are taken."""
        return self.rows == self.columns == ALL

    @property
    def reads_even(self) -> bool:
        """Whether no position is taken but even ones."""
        return all(first % 2 == step % 2 == 0 for first, _, step in (self.rows, self.columns))

    def strided(self, question: Question) -> "_Cut":
        """The cut from the source to answer a question."""
        steps = question.strided((self.rows[2], self.columns[2]))
        rows, columns = (*self.rows[:2], steps[0]), (*self.columns[:2], steps[1])
        return replace(self, rows=rows, columns=columns)


def _taken(cut: _Cut, builder: Builder) -> fx.Node:
    if not cut.reads_even:
        return builder.call(sliced, builder.full(cut.source), cut.rows, cut.columns, cut.channels)
    source = builder.even(cut.source)
    rows, columns = map(_halved, (cut.rows, cut.columns))
    if (rows, columns, set(cut.channels)) == (ALL, ALL, {None}):
        return source
    return builder.call(sliced, source, rows, columns, cut.channels)


def _halved(positions: Range) -> Range:
    """Which cells stand at even positions."""
    first, stop, step = positions
    return first // 2, None if stop is None else (stop + 1) // 2, step // 2


def _cut_of(node: fx.Node, values: Values) -> _Cut | None:
    """The cut that a node makes of a map; none if its index is no plain slice."""
    source, index = node.args
    if not isinstance(source, fx.Node) or node.all_input_nodes != [source]:
        return None
    slices = _four(index) if values.size(source) is not None else None
    if slices is None or slices[0] != slice(None):
        return None
    rows, columns = ((each.start or 0, each.stop, each.step or 1) for each in slices[2:])
    if any(number is not None and number < 0 for number in (*rows, *columns)):
        return None
    channels = slices[1].start, slices[1].stop, slices[1].step
    return _Cut(source, channels, rows, columns)


def _four(index: Any) -> list[slice] | None:
    """An index of slices as one of each of four axes."""
    given = list(index) if isinstance(index, tuple) else [index]
    rest = [place for place, each in enumerate(given) if each is Ellipsis] or [len(given)]
    missing = [slice(None)] * (4 - len(given) + (rest[0] < len(given)))
    found = [*given[: rest[0]], *missing, *given[rest[0] + 1 :]]
    return found if len(found) == 4 and all(isinstance(it, slice) for it in found) else None


def _is_of_parts(node: fx.Node, values: Values) -> bool:
    source, index = node.args
    if not isinstance(source, fx.Node) or values.parts(source) is None:
        return False
    return isinstance(index, int) and source.target in _PARTS


@rule(functional.pad, nn.ConstantPad3d, nn.ZeroPad3d)
class Padding(_Channels):
    """Channels of one value beside a map's channels."""

    def answers_even(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        module: Any = values.submodule(node)
        given: Any = arguments_of(node, ("input", "pad", "mode"))
        sides = given.get("pad") if module is None else module.padding
        source, *numbers = node.all_input_nodes
        return (
            given.get("mode", "constant") == "constant"
            and values.size(source) is not None
            and not numbers
            and len(sides) >= 4
            and not any(sides[:4])
        )


@rule(functional.channel_shuffle, torch.channel_shuffle, nn.ChannelShuffle)
class Shuffle(_Channels):
    """Channels in another order."""

    def answers_even(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        return values.size(node) is not None


_CHANNELS = (1, -3)
_PARTS = (torch.chunk, "chunk", torch.split, "split")


def _axis(node: fx.Node, position: int = 1) -> Any:
    if "axis" in node.kwargs:
        return node.kwargs["axis"]
    return node.args[position] if len(node.args) > position else node.kwargs.get("dim", 0)
