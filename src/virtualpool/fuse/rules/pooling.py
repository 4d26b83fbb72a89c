"""Poolings: on reduced maps where their windows are known there, else in full."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from virtualpool.fuse.kernels import reduced
from virtualpool.fuse.kernels.max_pooling import max_pool, max_pool_from_cells, rounded_to_even
from virtualpool.fuse.questions.rule import Asked, Builder, Question, Rule, rule
from virtualpool.fuse.questions.sizes import ALL, sliced
from virtualpool.fuse.questions.values import Values
from virtualpool.graph.arguments import arguments_of
from virtualpool.graph.geometry import pair
from virtualpool.graph.operations import is_mean_over_space
from virtualpool.operator.pool import Axes, virtual_pool, window_size


@dataclass(frozen=True)
class _Window:
    """The windows of a pooling; its size is rounded down if it is not in `ceil_mode`."""

    source: fx.Node
    kernel: Axes
    stride: Axes
    padding: Axes
    dilation: Axes = (1, 1)
    ceil_mode: bool = False


class _Pooling(Rule, ABC):
    """A pooling asked for even positions doubles its stride."""

    @abstractmethod
    def window(self, node: fx.Node, values: Values) -> _Window | None:
        """The windows, of a pooling that is not done in an unusual way."""

    @abstractmethod
    def has_reduced(self, window: _Window, stride: Axes) -> bool:
        """Whether there is a form for the reduced map of an interpolated one."""

    @abstractmethod
    def build_reduced(self, it: _Window, stride: Axes, builder: Builder) -> fx.Node:
        """Builds the form for the reduced map."""

    @abstractmethod
    def build_full(self, it: _Window, stride: Axes, builder: Builder) -> fx.Node:
        """Builds the pooling of the full map with another stride."""

    def answers_even(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        it = self.window(node, values)
        # With a doubled stride a size is rounded up otherwise.
        return it is not None and not it.ceil_mode

    def asks(self, node: fx.Node, question: Question, values: Values) -> Asked:
        """See `Rule`."""
        it = self.window(node, values)
        if it is not None and self._reads_reduced(it, question, values):
            return [(it.source, Question.EVEN)]
        return super().asks(node, question, values)

    def build(self, node: fx.Node, question: Question, builder: Builder) -> fx.Node:
        """See `Rule`."""
        it = self.window(node, builder.values)
        if it is None:
            return super().build(node, question, builder)
        stride = question.strided(it.stride)
        if self._reads_reduced(it, question, builder.values):
            if _is_slice(it):
                rows, columns = (0, None, stride[0] // 2), (0, None, stride[1] // 2)
                even = builder.even(it.source)
                # A slice of all is a copy in other runtimes, and Core ML has none.
                is_whole = rows == columns == ALL
                return even if is_whole else builder.call(sliced, even, rows, columns)
            return self.build_reduced(it, stride, builder)
        if question is Question.FULL:
            return builder.copy(node, builder.full)
        return self.build_full(it, stride, builder)

    def size(self, node: fx.Node, builder: Builder) -> Any:
        """See `Rule`."""
        it = self.window(node, builder.values)
        assert it is not None  # only such a one answers at even positions
        padding = (2 * it.padding[0], 2 * it.padding[1])
        source = builder.size(it.source)
        return builder.call(window_size, source, it.kernel, it.stride, padding, it.dilation)

    def _reads_reduced(self, it: _Window, question: Question, values: Values) -> bool:
        stride = question.strided(it.stride)
        if _is_slice(it):
            return stride[0] % 2 == stride[1] % 2 == 0
        return (
            it.source in values.interpolated
            and stride[0] % 2 == 0
            and stride[0] == stride[1]
            and it.dilation == (1, 1)
            and self.has_reduced(it, stride)
        )


@rule(nn.MaxPool2d, functional.max_pool2d, torch.max_pool2d)
class MaxPool(_Pooling):
    """Max pooling; of reduced maps with windows of 2x2, or of 3x3 and a padding of one or none."""

    def window(self, node: fx.Node, values: Values) -> _Window | None:
        """See `_Pooling`."""
        given = arguments_of(node, _MAX_POOL, values.submodule(node))
        it = _window(given, values)
        if it is None or given.get("return_indices"):
            return None
        # With a stride of one, or windows of one, there is nothing to round.
        if not given.get("ceil_mode") or it.stride == (1, 1) or _is_slice(it):
            return it
        is_known = _begins_and_ends_at_cells(it) or _halves(it)
        return replace(it, ceil_mode=True) if is_known else None

    def has_reduced(self, window: _Window, stride: Axes) -> bool:
        """See `_Pooling`."""
        is_known = (window.kernel, window.padding) in (((2, 2), (0, 0)), ((3, 3), (1, 1)))
        return is_known or _begins_and_ends_at_cells(window)

    def build_reduced(self, it: _Window, stride: Axes, builder: Builder) -> fx.Node:
        """See `_Pooling`."""
        source, size = builder.even(it.source), builder.size(it.source)
        if _begins_and_ends_at_cells(it):
            return builder.call(
                max_pool_from_cells, source, size, stride[0], ceil_mode=it.ceil_mode
            )
        if it.ceil_mode:
            # A last row that is alone in its window is there twice in a map of the next even size.
            size = builder.call(rounded_to_even, size)
        is_rectified = _is_rectified(it.source, builder.values)
        return builder.call(
            max_pool, source, size, it.kernel[0], stride[0], is_rectified=is_rectified
        )

    def build_full(self, it: _Window, stride: Axes, builder: Builder) -> fx.Node:
        """See `_Pooling`."""
        arguments = (builder.full(it.source), it.kernel, stride, it.padding, it.dilation)
        return builder.call(functional.max_pool2d, *arguments)


@rule(nn.AvgPool2d, functional.avg_pool2d)
class AveragePool(_Pooling):
    """Average pooling; of reduced maps with windows of 2x2, or of 3x3 with counted zeros around."""

    def window(self, node: fx.Node, values: Values) -> _Window | None:
        """See `_Pooling`."""
        given = arguments_of(node, _AVERAGE_POOL, values.submodule(node))
        it = _window(given, values)
        if it is None or given.get("divisor_override"):
            return None
        is_rounded_up = given.get("ceil_mode") and it.stride != (1, 1) and not _is_slice(it)
        counts_zeros = it.padding == (0, 0) or given.get("count_include_pad", True)
        # PyTorch computes means over other divisors at the border.
        return it if counts_zeros and not is_rounded_up else None

    def has_reduced(self, window: _Window, stride: Axes) -> bool:
        """See `_Pooling`."""
        return (window.kernel, window.padding) in (((2, 2), (0, 0)), ((3, 3), (1, 1)))

    def build_reduced(self, it: _Window, stride: Axes, builder: Builder) -> fx.Node:
        """See `_Pooling`."""
        source, size = builder.even(it.source), builder.size(it.source)
        return builder.call(reduced.average_pool, source, size, it.kernel[0], stride[0])

    def build_full(self, it: _Window, stride: Axes, builder: Builder) -> fx.Node:
        """See `_Pooling`."""
        source = builder.full(it.source)
        return builder.call(functional.avg_pool2d, source, it.kernel, stride, it.padding)


@rule(nn.AdaptiveAvgPool2d, functional.adaptive_avg_pool2d, torch.mean, "mean")
class GlobalAverage(Rule):
    """The mean over all positions of an interpolated map, from its reduced map."""

    def asks(self, node: fx.Node, question: Question, values: Values) -> Asked:
        """See `Rule`."""
        if _is_global(node, values):
            return [(node.all_input_nodes[0], Question.EVEN)]
        return super().asks(node, question, values)

    def build(self, node: fx.Node, question: Question, builder: Builder) -> fx.Node:
        """See `Rule`."""
        if not _is_global(node, builder.values):
            return super().build(node, question, builder)
        source = node.all_input_nodes[0]
        keeps = builder.values.size(node) is not None
        return builder.call(reduced.mean, builder.even(source), builder.size(source), keeps)


_MAX_POOL = (
    "input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices",
)  # fmt: skip
_AVERAGE_POOL = (
    "input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad",
    "divisor_override",
)  # fmt: skip


def _window(given: dict[str, Any], values: Values) -> _Window | None:
    source = given.get("input")
    kernel = pair(given.get("kernel_size"))
    stride = pair(given.get("stride") or kernel)
    padding, dilation = pair(given.get("padding", 0)), pair(given.get("dilation", 1))
    if values.size(source) is None or None in (kernel, stride, padding, dilation):
        return None
    return _Window(source, kernel, stride, padding, dilation)  # pyright: ignore


def _is_slice(it: _Window) -> bool:
    """Whether windows of one position take every so many of them, as a strided slice does."""
    return (it.kernel, it.padding) == ((1, 1), (0, 0))


def _begins_and_ends_at_cells(it: _Window) -> bool:
    """Whether windows that begin at even positions end at such, too."""
    return (it.kernel, it.padding, it.dilation) == ((3, 3), (0, 0), (1, 1))


def _halves(it: _Window) -> bool:
    return (it.kernel, it.stride, it.padding, it.dilation) == ((2, 2), (2, 2), (0, 0), (1, 1))


def _is_rectified(value: fx.Node, values: Values) -> bool:
    """Whether no value of an interpolated map is below zero, since a ReLU has made it."""
    while value.target is virtual_pool or isinstance(values.submodule(value), nn.Identity):
        value = value.all_input_nodes[0]
    is_module = isinstance(values.submodule(value), nn.ReLU | nn.ReLU6)
    return is_module or value.target in (functional.relu, functional.relu6, torch.relu, "relu")


def _is_global(node: fx.Node, values: Values) -> bool:
    """Whether a node takes the mean over all positions of an interpolated map."""
    source = node.all_input_nodes[0]
    return (
        source in values.interpolated
        and values.size(source) is not None
        and (_pools_to_one(node, values) or is_mean_over_space(node))
        and "dtype" not in node.kwargs
    )


def _pools_to_one(node: fx.Node, values: Values) -> bool:
    is_pool = node.op == "call_module" or node.target is functional.adaptive_avg_pool2d
    return is_pool and values.size(node) == (1, 1)
