"""Convolutions: on even positions alone, on a reduced map with a folded kernel, or in full."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from virtualpool.fuse.choice.ways import Trial, Way, taken
from virtualpool.fuse.kernels import reduced
from virtualpool.fuse.kernels.folded import folded_convolution
from virtualpool.fuse.kernels.folding import axes, fold, spread
from virtualpool.fuse.questions.enlargements import enlargement_of
from virtualpool.fuse.questions.rule import Asked, Builder, Question, Rule, rule
from virtualpool.fuse.questions.values import Values
from virtualpool.graph.arguments import arguments_of
from virtualpool.graph.geometry import pair
from virtualpool.operator.border import padded_border
from virtualpool.operator.pool import Axes, window_size


@dataclass(frozen=True)
class _Convolution:
    """A convolution of a map, `source`, which it may read with padded borders: `bordered`."""

    source: fx.Node
    bordered: fx.Node | None
    weight: fx.Node
    bias: Any
    kernel: Axes
    stride: Axes
    padding: Axes
    dilation: Axes
    groups: int

    @classmethod
    def of(cls, node: fx.Node, values: Values) -> "_Convolution | None":
        """A node's convolution; none where it is not a plain one of a batch of maps."""
        given = arguments_of(node, _NAMES)
        numbers = [pair(given.get(name, default)) for name, default in _DEFAULTS.items()]
        shape, source, bordered = values.shape(given["weight"]), given["input"], None
        stride, padding, dilation = numbers
        is_bordered = getattr(source, "target", None) is padded_border and len(source.args) == 2
        if is_bordered and padding == (0, 0):
            bordered, (source, padding) = source, source.args
        if None in numbers or shape is None or values.size(source) is None:
            return None
        groups: Any = given.get("groups", 1)
        weight, bias = given["weight"], given.get("bias")
        geometry: Any = (shape[2:], stride, padding, dilation)
        return cls(source, bordered, weight, bias, *geometry, groups)  # pyright: ignore

    def way(self, question: Question, values: Values) -> Way:
        """How the question is answered, of the ways that are exact."""
        return taken(self.milliseconds(question, values))

    def milliseconds(self, question: Question, values: Values) -> dict[Way, float]:
        """The exact ways and their times on this machine; of a single way no time is taken."""
        ways = self._exact_ways(question, values)
        if len(ways) == 1:
            return {ways[0]: 0.0}
        return values.once(
            (self, question), lambda: self._trial(question, values).milliseconds(ways)
        )

    def _exact_ways(self, question: Question, values: Values) -> list[Way]:
        """In the order in which they need less memory."""
        both = axes(self.kernel, self.padding, self.dilation)
        is_even = all(step % 2 == 0 for step in question.strided(self.stride))
        if is_even and all(axis.skips_odd for axis in both):
            return [Way.CELLS]
        if is_even and all(axis.is_exact_when_extended for axis in both) and self.bordered is None:
            enlargement = enlargement_of(self.source, values)
            if enlargement is not None and enlargement.folds(self.source, self, values):
                return [Way.ENLARGED]
        if self.source not in values.interpolated:
            return [Way.FULL]
        if self.bordered is not None:
            return [Way.PADDED] if is_even else [Way.FULL]
        if not is_even:
            reaches = all(axis.reach_before >= 0 for axis in both)
            is_dense = self.stride == (1, 1) and reaches and not values.training
            return [Way.FULL, Way.TRANSPOSED] if is_dense else [Way.FULL]
        if not all(axis.is_exact_when_extended for axis in both):
            # Strips are many small operations: on small maps, more than there is to save.
            return [Way.FULL, Way.MENDED]
        size = values.size(self.source)
        is_large = size is not None and min(size) >= _LARGE and not values.training
        return [Way.EXTENDED, Way.MENDED] if is_large else [Way.EXTENDED]

    def _trial(self, question: Question, values: Values) -> Trial:
        shape, kernel = values.shape(self.source), values.shape(self.weight)
        assert shape is not None
        assert kernel is not None  # a plain convolution's are known
        geometry = question.strided(self.stride), self.padding, self.dilation, self.groups
        return Trial.like(values.module, shape, kernel, *geometry)


@rule(torch.conv2d)
class Convolution(Rule):
    """A two-dimensional convolution with zero padding.

    Asked for even positions it doubles its stride. With an even stride on an interpolated map, it
    is a convolution with half the stride and a folded kernel on the reduced map.
    """

    def is_interpolated(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        it = _Convolution.of(node, values)
        return (
            it is not None
            and it.bordered is None
            and (it.kernel, it.stride, it.padding) == ((1, 1), (1, 1), (0, 0))
            and it.source in values.interpolated
        )

    def answers_even(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        return _Convolution.of(node, values) is not None

    def asks(self, node: fx.Node, question: Question, values: Values) -> Asked:
        """See `Rule`."""
        it = _Convolution.of(node, values)
        if it is None:
            return super().asks(node, question, values)
        parameters = [each for each in (it.weight, it.bias) if each is not None]
        return [
            *_asked(it, it.way(question, values), values),
            *((each, Question.FULL) for each in parameters),
        ]

    def build(self, node: fx.Node, question: Question, builder: Builder) -> fx.Node:
        """See `Rule`."""
        it = _Convolution.of(node, builder.values)
        if it is None:
            return super().build(node, question, builder)
        way = it.way(question, builder.values)
        builder.choices[node] = it.milliseconds(question, builder.values)
        if way is Way.EXTENDED:
            return _extended(it, question, builder)
        if way is Way.MENDED:
            return _mended(it, question, builder)
        if way is Way.PADDED:
            return _padded(it, question, builder)
        if way is Way.TRANSPOSED:
            return _transposed(it, builder)
        if way is Way.ENLARGED:
            enlargement = enlargement_of(it.source, builder.values)
            assert enlargement is not None  # there is such a way for no other
            return enlargement.convolution(it, question.strided(it.stride), builder)
        stride, padding, dilation = question.strided(it.stride), it.padding, it.dilation
        if way is Way.CELLS and builder.has_even(it.source):
            source = builder.even(it.source)
            stride, padding, dilation = _halved(stride), _halved(padding), _halved(dilation)
        elif it.bordered is not None and way is Way.FULL:
            source, padding = builder.full(it.bordered), (0, 0)
        else:
            source = builder.full(it.source)
        bias = None if it.bias is None else builder.full(it.bias)
        weight = builder.full(it.weight)
        return builder.call(
            torch.conv2d, source, weight, bias, stride, padding, dilation, it.groups
        )

    def size(self, node: fx.Node, builder: Builder) -> Any:
        """See `Rule`."""
        it = _Convolution.of(node, builder.values)
        assert it is not None  # only such a one answers at even positions
        return _size(it, it.stride, builder)


def reads_padded(node: fx.Node, question: Question, values: Values) -> bool:
    """Whether a convolution reads a reduced map with zeros around it."""
    it = _Convolution.of(node, values)
    return it is not None and it.way(question, values) is Way.PADDED


_NAMES = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_DEFAULTS = {"stride": 1, "padding": 0, "dilation": 1}


_LARGE = 112
"""From this height and width on, a map may be so large that it is better mended than extended."""


def _asked(it: _Convolution, way: Way, values: Values) -> Asked:
    """What a convolution asks of the map that it reads in its way."""
    if way is Way.FULL:
        return [(it.bordered or it.source, Question.FULL)]
    enlargement = enlargement_of(it.source, values) if way is Way.ENLARGED else None
    return [(it.source, Question.EVEN)] if enlargement is None else enlargement.asks(values)


def _extended(it: _Convolution, question: Question, builder: Builder) -> fx.Node:
    stride = question.strided(it.stride)
    rows, columns = axes(it.kernel, it.padding, it.dilation)
    half, before = _halved(stride), (rows.before, columns.before)
    size, outputs = builder.size(it.source), _size(it, stride, builder)
    training = builder.values.training
    given = builder.even(it.source), size, outputs, (rows.cells, columns.cells), half, before
    frame = builder.call(reduced.framed, *given, may_be_bare=not training)
    weight = builder.full(it.weight)
    bias = None if it.bias is None else builder.full(it.bias)
    geometry, groups = (it.padding, it.dilation), it.groups
    if training:
        return builder.call(folded_convolution, frame, weight, bias, half, *geometry, groups)
    folded = builder.call(fold, weight, *geometry)
    given = frame, size, outputs, folded, bias, half, before, groups
    return builder.call(reduced.convolution_of_frame, *given)


def _padded(it: _Convolution, question: Question, builder: Builder) -> fx.Node:
    stride, both = question.strided(it.stride), axes(it.kernel, it.padding, it.dilation)
    half, before = _halved(stride), (both[0].before, both[1].before)
    source = builder.even(it.source)
    if not all(axis.keeps_between_zeros for axis in both):
        outputs, cells = _size(it, stride, builder), (both[0].cells, both[1].cells)
        source = builder.call(reduced.between_zeros, source, outputs, cells, half, before)
        before = (0, 0)
    weight = builder.full(it.weight)
    bias = None if it.bias is None else builder.full(it.bias)
    geometry, groups = (it.padding, it.dilation), it.groups
    if builder.values.training:
        given = source, weight, bias, half, *geometry, groups, before
        return builder.call(folded_convolution, *given)
    folded = builder.call(fold, weight, *geometry)
    return builder.call(torch.conv2d, source, folded, bias, half, before, (1, 1), groups)


def _mended(it: _Convolution, question: Question, builder: Builder) -> fx.Node:
    stride, weight = question.strided(it.stride), builder.full(it.weight)
    geometry = it.padding, it.dilation
    folded = builder.call(fold, weight, *geometry)
    return builder.call(
        reduced.mended_convolution,
        builder.even(it.source),
        builder.size(it.source),
        _size(it, stride, builder),
        (folded, weight),
        None if it.bias is None else builder.full(it.bias),
        _halved(stride),
        *geometry,
        it.groups,
    )


def _transposed(it: _Convolution, builder: Builder) -> fx.Node:
    weight, geometry = builder.full(it.weight), (it.padding, it.dilation, it.groups)
    return builder.call(
        reduced.transposed_convolution,
        builder.even(it.source),
        builder.size(it.source),
        (builder.call(spread, weight, *geometry), weight),
        None if it.bias is None else builder.full(it.bias),
        *geometry,
    )


def _size(it: _Convolution, stride: Axes, builder: Builder) -> fx.Node:
    padding = (2 * it.padding[0], 2 * it.padding[1])
    size = builder.size(it.source)
    return builder.call(window_size, size, it.kernel, stride, padding, it.dilation)


def _halved(axes: Axes) -> Axes:
    # A dilation of one belongs to a single tap.
    return max(axes[0] // 2, axes[0] % 2), max(axes[1] // 2, axes[1] % 2)
