"""Enlargements whose even positions, and what reads them, can be computed of the map before."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import fx, nn
from torch.nn import functional

from virtualpool.fuse.kernels.composed import (
    bias_at_taps,
    convolution_of_transposed,
    fold_transposed,
    whole_bias,
)
from virtualpool.fuse.kernels.enlarging import (
    both,
    convolution_of_enlarged,
    fold_enlarged,
    multiplied,
)
from virtualpool.fuse.questions.rule import Asked, Builder, Question
from virtualpool.fuse.questions.values import Values
from virtualpool.graph.arguments import arguments_of
from virtualpool.graph.geometry import pair
from virtualpool.graph.operations import is_hooked, runs_forward_of
from virtualpool.operator.pool import Axes, output_size

ENLARGING = (functional.interpolate, functional.upsample, nn.Upsample)


@dataclass(frozen=True)
class Enlargement:
    """A nearest enlargement by 2 or 4, or a bilinear one by 2 without aligned corners.

    Attributes:
        source: the map before.
        size: the size as it was given; none where a factor was.
        mode: of `functional.interpolate`.
        factor: along each axis, on the example inputs.
    """

    source: fx.Node
    size: Any
    mode: str
    factor: int

    @classmethod
    def of(cls, node: Any, values: Values) -> "Enlargement | None":
        """A node's enlargement; none where it does something else."""
        if not isinstance(node, fx.Node) or not is_enlarging(node, values):
            return None
        given = arguments_of(node, NAMES, values.submodule(node))
        source, mode = given.get("input"), given.get("mode", "nearest")
        before, after = values.size(source), values.size(node)
        if not isinstance(source, fx.Node) or before is None or after is None:
            return None
        if given.get("align_corners") or given.get("antialias"):
            return None
        factor, size = after[0] // before[0], given.get("size")
        is_whole = after == multiplied((before[0], before[1]), factor)
        if not is_whole or factor not in _FACTORS.get(mode, ()):
            return None
        if size is None and not _is_factor(given.get("scale_factor"), factor):
            return None
        return cls(source, size, mode, factor)

    def folds(self, node: fx.Node, reader: "Reader", values: Values) -> bool:
        """Whether a convolution of it is better one of the map before: it always is."""
        return True

    def asks(self, values: Values) -> Asked:
        """The question that its readers put to the map before, which is never there in full."""
        yield self.source, _cells_of(self.source, values)
        sizes: list[fx.Node] = []
        fx.map_arg(self.size, sizes.append)
        for each in sizes:
            yield each, Question.FULL

    def target(self, builder: Builder) -> Any:
        """The size of the enlarged map."""
        if self.size is None:
            return builder.call(multiplied, builder.size(self.source), self.factor)
        return builder.call(both, fx.map_arg(self.size, builder.full))

    def convolution(self, reader: "Reader", stride: Axes, builder: Builder) -> fx.Node:
        """Builds a convolution of the enlarged map, of the map before."""
        weight, geometry = builder.full(reader.weight), (reader.padding, reader.dilation)
        return builder.call(
            convolution_of_enlarged,
            *_read(self.source, builder),
            self.target(builder),
            (builder.call(fold_enlarged, weight, *geometry, self.mode), weight),
            None if reader.bias is None else builder.full(reader.bias),
            stride,
            *geometry,
            reader.groups,
            self.mode,
            self.factor,
            is_reduced=self.source in builder.values.interpolated,
        )


@dataclass(frozen=True)
class Transposed:
    """A transposed convolution with a stride of two.

    Attributes:
        source: the map that it reads.
        weight: its kernel (in, out / groups, rows, columns).
        bias: a node, or none.
        kernel: rows and columns of it.
        padding: how many rows and columns are cut off on each side.
        output_padding: how many are added below and at the right.
        groups: as for `torch.conv_transpose2d`.
    """

    source: fx.Node
    weight: fx.Node
    bias: fx.Node | None
    kernel: Axes
    padding: Axes
    output_padding: Axes
    groups: int

    @classmethod
    def of(cls, node: Any, values: Values) -> "Transposed | None":
        """A node's one; none where it is another, or its kernel has no taps at even positions."""
        if not isinstance(node, fx.Node) or node.target is not torch.conv_transpose2d:
            return None
        given: Any = arguments_of(node, _TRANSPOSED)
        stride, padding, more, dilation = (
            pair(given.get(name, usual)) for name, usual in _DEFAULTS.items()
        )
        shape, source = values.shape(given["weight"]), given["input"]
        if shape is None or padding is None or more is None or values.size(source) is None:
            return None
        if (stride, dilation) != ((2, 2), (1, 1)) or min(shape[2:]) < 2:
            return None
        groups, kernel = given.get("groups", 1), (shape[2], shape[3])
        return cls(source, given["weight"], given.get("bias"), kernel, padding, more, groups)

    def folds(self, node: fx.Node, reader: "Reader", values: Values) -> bool:
        """Whether one convolution of the map before takes the place of both, and is less work.

        Each position of the map before is then to give two in each direction and nothing between,
        as 2x2 does: what lies beyond the map is zero in both.
        """
        own, shape = values.shape(self.weight), values.shape(reader.weight)
        is_plain = self.kernel == (2, 2) and self.padding == self.output_padding == (0, 0)
        is_one = self.groups == reader.groups == 1 and reader.dilation == (1, 1)
        readers = [each for each in node.users if not _asks_for_size(each)]
        if not (is_plain and is_one and len(readers) == 1) or values.training:
            return False
        if own is None or shape is None:
            return False
        given, between, made = own[0], own[1], shape[0]
        cells = [(taps + cut + 1) // 2 for taps, cut in zip(shape[2:], reader.padding, strict=True)]
        both_of_them = 4 * given * between + shape[2] * shape[3] * between * made
        return cells[0] * cells[1] * given * made <= both_of_them

    def asks(self, values: Values) -> Asked:
        """The question that its readers put to the map before."""
        yield self.source, _cells_of(self.source, values)
        yield self.weight, Question.FULL
        if self.bias is not None:
            yield self.bias, Question.FULL

    def convolution(self, reader: "Reader", stride: Axes, builder: Builder) -> fx.Node:
        """Builds a convolution of its result, as one of the map that it reads."""
        weight = builder.full(reader.weight)
        bias = None if reader.bias is None else builder.full(reader.bias)
        of_taps = None
        if self.bias is not None:
            of_taps = builder.call(bias_at_taps, weight, builder.full(self.bias))
            bias = builder.call(whole_bias, of_taps, bias)
        shape = builder.values.shape(reader.weight)
        assert shape is not None  # known of one that is folded
        return builder.call(
            convolution_of_transposed,
            *_read(self.source, builder),
            builder.call(fold_transposed, weight, builder.full(self.weight), reader.padding),
            (bias, of_taps),
            (shape[2], shape[3]),
            stride,
            reader.padding,
            is_reduced=self.source in builder.values.interpolated,
        )


class Reader(Protocol):
    """A convolution that reads an enlarged map: what has to be known of it."""

    @property
    def weight(self) -> fx.Node:
        """Its kernel."""
        ...

    @property
    def bias(self) -> Any:
        """A node, or none."""
        ...

    @property
    def padding(self) -> Axes:
        """Zeros on each side of the enlarged map."""
        ...

    @property
    def dilation(self) -> Axes:
        """The distance of two taps."""
        ...

    @property
    def groups(self) -> int:
        """As for `torch.conv2d`."""
        ...


def enlargement_of(node: Any, values: Values) -> Enlargement | Transposed | None:
    """The operation by which a node enlarges a map, where more is known of it."""
    return Enlargement.of(node, values) or Transposed.of(node, values)


def _asks_for_size(node: fx.Node) -> bool:
    is_shape = node.target is getattr and node.args[1:] == ("shape",)
    return is_shape or node.target in (output_size, "size")


def _cells_of(source: fx.Node, values: Values) -> Question:
    return Question.EVEN if source in values.interpolated else Question.FULL


def _read(source: fx.Node, builder: Builder) -> tuple[fx.Node, Any]:
    """A map, or its reduced map where it is a virtual pool, and the size of the map."""
    is_reduced = source in builder.values.interpolated
    return builder.even(source) if is_reduced else builder.full(source), builder.size(source)


NAMES = ("input", "size", "scale_factor", "mode", "align_corners", "recompute_scale_factor")
_TRANSPOSED = (
    "input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation",
)  # fmt: skip
_DEFAULTS = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1}
_FACTORS = {"nearest": (2, 4), "nearest-exact": (2, 4), "bilinear": (2,)}


def is_enlarging(node: fx.Node, values: Values) -> bool:
    """Whether a node calls PyTorch's operation that enlarges maps, with no hook around it."""
    module = values.submodule(node)
    if module is None:
        return node.op == "call_function" and node.target in ENLARGING
    is_plain = isinstance(module, nn.Upsample) and runs_forward_of(module, nn.Upsample)
    return is_plain and not is_hooked(module)


def _is_factor(given: Any, factor: int) -> bool:
    numbers = given if isinstance(given, tuple | list) else (given,)
    return all(isinstance(each, int | float) and each == factor for each in numbers)
