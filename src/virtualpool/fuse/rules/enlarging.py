"""Enlarged maps at their even positions: computed of the map before, or of its reduced map."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from virtualpool.fuse.kernels.aligned import aligned
from virtualpool.fuse.kernels.enlarging import enlarged_cells, multiplied
from virtualpool.fuse.kernels.transposed import (
    even_taps,
    shuffled_cells,
    transposed_cells,
    transposed_size,
)
from virtualpool.fuse.questions.aligned import Aligned
from virtualpool.fuse.questions.enlargements import ENLARGING, Enlargement, Transposed
from virtualpool.fuse.questions.rule import Asked, Builder, Question, Rule, rule
from virtualpool.fuse.questions.values import Values
from virtualpool.graph.arguments import arguments_of


class _Doubled(Rule, ABC):
    """An operation that makes twice the rows and columns.

    Its even positions are as many as the map before has in all. Where that is a virtual pool, this
    takes the place of the enlargement: it is as large as an enlarged reduced map.
    """

    @abstractmethod
    def source(self, node: fx.Node, values: Values) -> fx.Node | None:
        """The map before, where the even positions can be computed of it."""

    @abstractmethod
    def cells(self, node: fx.Node, given: tuple[Any, Any], builder: Builder, **how: Any) -> fx.Node:
        """Builds the even positions of the map before, or its reduced map, and the size of it."""

    def answers_even(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        return self.source(node, values) is not None

    def asks(self, node: fx.Node, question: Question, values: Values) -> Asked:
        """See `Rule`."""
        source = self.source(node, values) if question is Question.EVEN else None
        for each in node.all_input_nodes:
            is_reduced = each is source and each in values.interpolated
            yield each, Question.EVEN if is_reduced else Question.FULL

    def build(self, node: fx.Node, question: Question, builder: Builder) -> fx.Node:
        """See `Rule`."""
        source = self.source(node, builder.values)
        if question is Question.FULL or source is None:
            return super().build(node, question, builder)
        is_reduced = source in builder.values.interpolated
        x = builder.even(source) if is_reduced else builder.full(source)
        given = x, builder.size(source)
        return self.cells(node, given, builder, is_reduced=is_reduced)


@rule(*ENLARGING, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d)
class Enlarging(_Doubled):
    """Nearest and bilinear enlargement; see `Enlargement` and `Aligned` for which."""

    def answers_even(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        it = Aligned.of(node, values)
        return super().answers_even(node, values) if it is None else it.is_odd

    def asks(self, node: fx.Node, question: Question, values: Values) -> Asked:
        """See `Rule`."""
        it = Aligned.of(node, values)
        if it is None:
            yield from super().asks(node, question, values)
            return
        for each in node.all_input_nodes:
            is_reduced = each is it.source and it.reads_cells(values)
            yield each, Question.EVEN if is_reduced else Question.FULL

    def build(self, node: fx.Node, question: Question, builder: Builder) -> fx.Node:
        """See `Rule`."""
        it = Aligned.of(node, builder.values)
        if it is None:
            return super().build(node, question, builder)
        is_reduced, is_even = it.reads_cells(builder.values), question is Question.EVEN
        if not (is_reduced or is_even):
            return builder.copy(node, builder.full)
        x = builder.even(it.source) if is_reduced else builder.full(it.source)
        given = x, builder.size(it.source), it.target(builder)
        return builder.call(aligned, *given, even=is_even, is_reduced=is_reduced)

    def source(self, node: fx.Node, values: Values) -> fx.Node | None:
        """See `_Doubled`."""
        it = Enlargement.of(node, values)
        return None if it is None else it.source

    def cells(self, node: fx.Node, given: tuple[Any, Any], builder: Builder, **how: Any) -> fx.Node:
        """See `_Doubled`."""
        it = Enlargement.of(node, builder.values)
        assert it is not None  # it has a source
        target = it.target(builder)
        return builder.call(enlarged_cells, *given, target, it.mode, it.factor, **how)

    def size(self, node: fx.Node, builder: Builder) -> Any:
        """See `Rule`."""
        it = Enlargement.of(node, builder.values) or Aligned.of(node, builder.values)
        assert it is not None  # only such a one answers at even positions
        return it.target(builder)


@rule(torch.conv_transpose2d)
class TransposedConvolution(_Doubled):
    """A transposed convolution: its even positions are a convolution with a fourth of the taps."""

    def source(self, node: fx.Node, values: Values) -> fx.Node | None:
        """See `_Doubled`."""
        it = Transposed.of(node, values)
        return None if it is None else it.source

    def cells(self, node: fx.Node, given: tuple[Any, Any], builder: Builder, **how: Any) -> fx.Node:
        """See `_Doubled`."""
        it = Transposed.of(node, builder.values)
        assert it is not None  # it has a source
        size = it.kernel, it.padding, it.output_padding
        outputs = builder.call(transposed_size, given[1], *size, 2)
        taps = builder.call(even_taps, builder.full(it.weight), it.padding, it.groups)
        bias = None if it.bias is None else builder.full(it.bias)
        geometry = it.kernel, it.padding, it.groups
        return builder.call(transposed_cells, *given, outputs, taps, bias, *geometry, **how)

    def size(self, node: fx.Node, builder: Builder) -> Any:
        """See `Rule`."""
        it = Transposed.of(node, builder.values)
        assert it is not None  # only such a one answers at even positions
        size = builder.size(it.source)
        return builder.call(transposed_size, size, it.kernel, it.padding, it.output_padding)


@rule(functional.pixel_shuffle, nn.PixelShuffle)
class PixelShuffle(_Doubled):
    """A pixel shuffle by two: its even positions are a fourth of the channels."""

    def source(self, node: fx.Node, values: Values) -> fx.Node | None:
        """See `_Doubled`."""
        given = arguments_of(node, ("input", "upscale_factor"), values.submodule(node))
        is_map = values.size(given["input"]) is not None
        return given["input"] if is_map and given.get("upscale_factor") == 2 else None

    def cells(self, node: fx.Node, given: tuple[Any, Any], builder: Builder, **how: Any) -> fx.Node:
        """See `_Doubled`."""
        return builder.call(shuffled_cells, *given, **how)

    def size(self, node: fx.Node, builder: Builder) -> Any:
        """See `Rule`."""
        source = self.source(node, builder.values)
        assert source is not None  # only such a one answers at even positions
        return builder.call(multiplied, builder.size(source), 2)
