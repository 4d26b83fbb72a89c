"""Max pooling of an interpolated map in exported programs: by the operations that runtimes know.

The same values as in `max_pooling.py`, from averages, phases or convolutions.
"""

import functools

import torch
from torch import Tensor
from torch.nn import functional

from virtualpool.fuse.kernels.windows import window_counts
from virtualpool.fuse.onnx.operations import max_pool as onnx_max_pool
from virtualpool.fuse.onnx.operations import means_after
from virtualpool.operator.pool import Axes, repeated


def by_averages(reduced: Tensor, size: Axes, kernel: int, stride: int) -> Tensor:
    """Max pooling by poolings of the windows' values: XNNPACK has neither lerp nor steps.

    Where the stride is over two, no value may be below zero.
    """
    before, step = kernel // 3, stride // 2
    rows, columns = (
        repeated(reduced, *sides) for sides in (((before, 0), (1, 0)), ((0, before), (0, 1)))
    )
    both = repeated(rows, (0, before), (0, 1))
    largest = reduced
    for cells, means in ((rows, (2, 1)), (columns, (1, 2)), (both, (2, 2))):
        candidates = functional.avg_pool2d(cells, means, 1)
        if before:
            # Each mean of two neighbours is in two windows.
            candidates = functional.max_pool2d(candidates, means, 1)
        largest = torch.maximum(largest, candidates)
    counts = window_counts(size, kernel, stride)
    for axis, count in zip((-2, -1), counts, strict=True):
        length = (count - 1) * step + 1
        # A slice of all would be an operation that XNNPACK has not.
        largest = largest if length == largest.shape[axis] else largest.narrow(axis, 0, length)
    return largest if step == 1 else _every(step, largest)


def _every(step: int, x: Tensor) -> Tensor:
    """Each so-many-th row and column of a map whose values are not below zero."""
    rows, columns = (
        x.new_tensor([float(place % step == 0) for place in range(length)])
        for length in x.shape[-2:]
    )
    return functional.max_pool2d(x * (rows.view(-1, 1) * columns), step, ceil_mode=True)


def by_phases(reduced: Tensor, size: Axes, stride: int) -> Tensor:
    """Max pooling by windows of 3x3 of the even and the odd positions along each axis.

    A window holds one cell and the odd positions on both sides of it.
    """
    counts, step = window_counts(size, 3, stride), stride // 2
    candidates = []
    for odd_rows, cells in enumerate((reduced, means_after(reduced, size, -2))):
        for odd_columns, map in enumerate((cells, means_after(cells, size, -1))):
            kernel, before = (1 + odd_rows, 1 + odd_columns), (odd_rows, odd_columns)
            candidates.append(onnx_max_pool(map, kernel, counts, (step, step), before))
    return functools.reduce(torch.maximum, candidates)


def by_convolutions(reduced: Tensor, size: Axes, kernel: int, stride: int) -> Tensor:
    """Max pooling of values that are not below zero.

    Runtimes have faster depthwise convolutions than slices. These pad with zeros, which are in no
    way of the maximum: where a neighbour is missing, the cell itself is in the window.
    """
    rows, columns = window_counts(size, kernel, stride)
    if (kernel, stride) == (2, 2):
        pooled = _by_differences(reduced)
    else:
        along = reduced.new_tensor([[0, 1, 0], [0, 0.5, 0.5], [0.5, 0.5, 0]])[:kernel]
        candidates = [
            _depthwise(reduced, torch.outer(along[row], along[column]), stride // 2)
            for row in range(kernel)
            for column in range(kernel)
        ]
        pooled = functools.reduce(torch.maximum, candidates)
    # In memory of its own, as all that a pooling gives.
    return pooled[..., :rows, :columns].contiguous()


def _by_differences(cells: Tensor) -> Tensor:
    """The largest of each cell and the means after, below and across.

    As the larger of a and b is a + relu(b - a): of maxima and differences ONNX Runtime has no form
    for the layout of its convolutions, of sums it has.
    """
    none = [0.0, 0.0, 0.0]
    after, across, below = cells.new_tensor(
        [
            [none, [0, -0.5, 0.5], none],
            [none, [0, -0.25, 0.25], [0, -0.25, 0.25]],
            [none, [0, -0.5, 0], [0, 0.5, 0]],
        ]
    )
    more_after = functional.relu(_depthwise(cells, after))
    across_than_below = functional.relu(_depthwise(cells, across))
    negative = cells.new_tensor([[-1.0]])
    rest = across_than_below + _depthwise(more_after, negative)
    more_below = functional.relu(_depthwise(cells, below) + rest)
    return (cells + more_after) + more_below


def _depthwise(x: Tensor, kernel: Tensor, stride: int = 1) -> Tensor:
    """Each channel convolved by the same kernel, of an odd size, with zeros around it."""
    channels, padding = x.shape[1], kernel.shape[-1] // 2
    weight = kernel.expand(channels, 1, *kernel.shape)
    return torch.conv2d(x, weight, None, stride, padding, 1, channels)
