"""Convolution and pooling as ONNX has them: each side has a padding of its own."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.onnx import ops

from virtualpool.operator.pool import Axes


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    outputs: Axes,
    stride: Axes,
    dilation: Axes,
    before: Axes,
    groups: int,
) -> Tensor:
    """A convolution with zeros beside a map: so many before it, and as its outputs need after."""
    spans = [step * (taps - 1) + 1 for step, taps in zip(dilation, weight.shape[2:], strict=True)]
    attributes = {"dilations": [*dilation], "group": groups}
    inputs = (x, weight) if bias is None else (x, weight, bias)
    return _windows("Conv", inputs, attributes, weight.shape[0], outputs, spans, stride, before)


def max_pool(x: Tensor, kernel: Axes, outputs: Axes, stride: Axes, before: Axes) -> Tensor:
    """The largest in each window, which begins so many places before the map."""
    attributes = {"kernel_shape": [*kernel]}
    return _windows("MaxPool", (x,), attributes, x.shape[1], outputs, kernel, stride, before)


def means_after(x: Tensor, size: Axes, axis: int) -> Tensor:
    """The odd positions of an interpolated map along an axis: of each cell and the next, the mean.

    Args:
        x: the reduced map, or one with the odd positions of the other axis.
        size: (H, W) of the full map.
        axis: -2 or -1.
    """
    kernel = (2, 1) if axis == -2 else (1, 2)
    counts = [*x.shape[-2:]]
    counts[axis] = size[axis] // 2
    outputs = counts[0], counts[1]
    # Without the padding, the mean of the last cell is the cell itself.
    attributes = {"kernel_shape": [*kernel], "count_include_pad": 0}
    given = "AveragePool", (x,), attributes, x.shape[1], outputs, kernel, (1, 1), (0, 0)
    return _windows(*given)


def after(length: int, outputs: int, span: int, stride: int, before: int) -> int | None:
    """The padding after a map along an axis, or none if there is none that gives the outputs.

    >>> after(28, 28, 2, 1, 1), after(28, 14, 2, 2, 1), after(28, 14, 1, 2, 1)
    (0, 0, None)
    """
    missing = (outputs - 1) * stride + span - before - length
    left = max(missing, 0)
    return left if (length + before + left - span) // stride + 1 == outputs else None


def _windows(
    operator: str,
    inputs: tuple[Tensor, ...],
    attributes: dict[str, Any],
    channels: int,
    outputs: Axes,
    spans: Sequence[int],
    stride: Axes,
    before: Axes,
) -> Tensor:
    lengths = inputs[0].shape[-2:]
    each = zip(lengths, outputs, spans, stride, before, strict=True)
    padding = [*before, *(after(*axis) for axis in each)]
    return ops.symbolic(
        operator,
        inputs,
        attributes | {"strides": [*stride], "pads": padding},
        dtype=inputs[0].dtype,
        shape=(inputs[0].shape[0], channels, *outputs),
    )
