"""Max pooling of an interpolated map, from its reduced map.

In a window each virtual position is a cell, a mean of two, or a mean of four.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from virtualpool.fuse.kernels.exported_max_pooling import (
    by_averages,
    by_convolutions,
    by_phases,
)
from virtualpool.fuse.kernels.recording import is_recorded, may_write_in_place
from virtualpool.fuse.kernels.windows import Windows, mean_of, window_counts
from virtualpool.operator.exporting import (
    is_captured,
    is_exporting_for_onnx_runtime,
    is_exporting_open,
    is_exporting_program,
)
from virtualpool.operator.pool import Axes, repeated, virtual_pool
from virtualpool.torch_private import is_exporting


def max_pool(
    reduced: Tensor, size: Axes, kernel: int, stride: int, *, is_rectified: bool = False
) -> Tensor:
    """Max pooling of an interpolated map: 2x2, or 3x3 with a padding of one.

    Args:
        reduced: (N, C, h, w).
        size: (H, W) of the full map.
        kernel: 2, or 3 with a padding of one.
        stride: on the full map; even.
        is_rectified: whether no value is below zero.

    >>> max_pool(torch.tensor([[[[0.0, 4.0, 2.0]]]]), (2, 6), 2, 2)
    tensor([[[[2., 4., 2.]]]])
    """
    if may_write_in_place(reduced):
        return _by_bands(reduced, size, kernel, stride)
    if (kernel, stride) == (2, 2) and not is_captured():
        return _Halving.apply(reduced, size)  # pyright: ignore[reportReturnType]
    if is_recorded(reduced):
        # Many small operations are slow to go back through.
        padding = kernel // 3
        return functional.max_pool2d(virtual_pool(reduced, size), kernel, stride, padding)
    if is_exporting_open(size):
        return functional.max_pool2d(virtual_pool(reduced, size), kernel, stride, kernel // 3)
    if is_exporting_program() and (is_rectified or stride == 2):
        return by_averages(reduced, size, kernel, stride)
    if kernel == 3 and min(size) > 1 and is_exporting_for_onnx_runtime(reduced):
        return by_phases(reduced, size, stride)
    if is_rectified and is_exporting():
        return by_convolutions(reduced, size, kernel, stride)
    before = kernel // 3
    rows, columns = window_counts(size, kernel, stride)
    return _largest(reduced, Windows(stride // 2, before), (before, 1), rows, columns)


def max_pool_from_cells(reduced: Tensor, size: Axes, stride: int, *, ceil_mode: bool) -> Tensor:
    """Max pooling of an interpolated map with windows of 3x3 and no padding.

    Each window begins and ends at a cell, and no mean is above both of its cells.

    Args:
        reduced: (N, C, h, w).
        size: (H, W) of the full map.
        stride: on the full map; even.
        ceil_mode: as for `torch.nn.functional.max_pool2d`.

    >>> max_pool_from_cells(torch.ones(1, 1, 3, 4), (6, 7), 2, ceil_mode=True).shape
    torch.Size([1, 1, 3, 3])
    """
    if is_exporting_open(size):
        full = virtual_pool(reduced, size)
        return functional.max_pool2d(full, 3, stride, ceil_mode=ceil_mode)
    step = stride // 2
    rows, columns = (_count(length, stride, ceil_mode) for length in size)
    cells = repeated(reduced, (0, 0), (1, 1))
    cells = cells[..., : (rows - 1) * step + 2, : (columns - 1) * step + 2]
    return functional.max_pool2d(cells, 2, step)


def rounded_to_even(size: Axes) -> Axes:
    """A size (H, W) rounded up to even numbers.

    >>> rounded_to_even((7, 12))
    (8, 12)
    """
    return size[0] + size[0] % 2, size[1] + size[1] % 2


def _count(length: int, stride: int, ceil_mode: bool) -> int:
    """How many windows of three there are; one that begins beyond the end is none."""
    count = (length - 3 + (stride - 1) * ceil_mode) // stride + 1
    return count - 1 if (count - 1) * stride >= length else count


def _largest(
    cells: Tensor, windows: Windows, sides: tuple[int, int], rows: int, columns: int
) -> Tensor:
    """The largest of each window, of rows with as many more above and below as `sides` says."""
    # Beyond an end, the copied cell is in the window already, and changes no maximum.
    cells = repeated(cells, (sides[0], windows.before), (sides[1], 1))
    return windows.largest(
        cells, -2, rows, lambda candidates: windows.largest(candidates, -1, columns)
    )


def _by_bands(reduced: Tensor, size: Axes, kernel: int, stride: int) -> Tensor:
    """Some rows at a time: intermediate values stay in the cache, and take no memory."""
    windows, (rows, columns) = (
        Windows(stride // 2, kernel // 3),
        window_counts(size, kernel, stride),
    )
    pooled = torch.empty_like(reduced[..., :rows, :columns])
    for images in _in_cache(reduced):
        for first, last in _bands(reduced[images], rows, windows.step):
            above, below = first * windows.step - windows.before, (last - 1) * windows.step + 2
            cells = reduced[images, :, max(above, 0) : below]
            into = pooled[images, :, first:last]
            if (kernel, stride) == (2, 2):
                _halve_into(into, cells)
            else:
                sides = max(-above, 0), max(below - reduced.shape[2], 0)
                into.copy_(_largest(cells, windows, sides, last - first, columns))
    return pooled


class _Halving(torch.autograd.Function):
    """Windows of 2x2 and a stride of two, for training: of it only the reduced map is kept."""

    @staticmethod
    def forward(reduced: Tensor, size: Axes) -> Tensor:
        return _by_bands(reduced, size, 2, 2)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Axes], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore
        (reduced,) = ctx.saved_tensors
        missing = [a - b for a, b in zip(reduced.shape[-2:], gradient.shape[-2:], strict=True)]
        if any(missing):
            gradient = functional.pad(gradient, (0, missing[1], 0, missing[0]))
        result = torch.empty_like(reduced)
        for images in _in_cache(reduced):
            _halving_gradient_into(result[images], reduced[images], gradient[images])
        return result, None


def _in_cache(x: Tensor) -> Iterator[slice]:
    """The images of a batch, so many at a time that a few passes find them in the cache."""
    count = max(_at_once(x) // max(x[:1].numel(), 1), 1)
    for first in range(0, len(x), count):
        yield slice(first, first + count)


def _bands(x: Tensor, rows: int, step: int) -> Iterator[tuple[int, int]]:
    """The first row and the last, of so many rows at a time."""
    count = max(_at_once(x) // max(x[..., :step, :].numel(), 1), 1)
    for first in range(0, rows, count):
        yield first, min(first + count, rows)


_CACHED = 150_000
"""Values that are not slower one after another than together."""


def _at_once(x: Tensor) -> int:
    """How many values to work on at a time: each time costs a GPU a launch, so there all."""
    return _CACHED if x.device.type == "cpu" else x.numel()


def _halve_into(pooled: Tensor, cells: Tensor) -> None:
    """Windows of 2x2 and a stride of two, of cells and the row below them if there is one."""
    rows, columns = pooled.shape[-2:]
    below = torch.empty_like(cells[..., :rows, :])
    _means_into(below, cells, -2)
    cells = cells[..., :rows, :]
    _means_into(pooled, cells, -1)
    torch.maximum(pooled, cells[..., :columns], out=pooled)
    torch.maximum(pooled, below[..., :columns], out=pooled)
    inner = pooled[..., : cells.shape[-1] - 1]
    torch.maximum(inner, mean_of(below[..., :-1], below[..., 1:]), out=inner)


def _halving_gradient_into(result: Tensor, cells: Tensor, gradient: Tensor) -> None:
    """The gradient goes to the first largest of the cell, the means after, below, and across."""
    after, below = _means(cells, -1), _means(cells, -2)
    across = _means(below, -1)
    first = torch.maximum(cells, after)
    largest = torch.maximum(first, below)
    to_across = _where_positive(across.sub_(largest), gradient)
    gradient = gradient - to_across
    to_below = _where_positive(below.sub_(first), gradient)
    gradient.sub_(to_below)
    to_after = _where_positive(after.sub_(cells), gradient)
    torch.sub(gradient, to_after, out=result)
    _add_to_cells(to_below, to_across, -1)
    _add_to_cells(result, to_after, -1)
    _add_to_cells(result, to_below, -2)


def _where_positive(x: Tensor, values: Tensor) -> Tensor:
    """Values where a map is above zero, zeros elsewhere."""
    # A selection by a mask is several times slower.
    return torch.ops.aten.threshold_backward(values, x, 0)


def _means(cells: Tensor, axis: int) -> Tensor:
    means = torch.empty_like(cells)
    _means_into(means, cells, axis)
    return means


def _means_into(means: Tensor, cells: Tensor, axis: int) -> None:
    """The means of each cell and the next along an axis; of the last, itself."""
    count, length = means.shape[axis], cells.shape[axis]
    of_two = min(count, length - 1)
    first, second = cells.narrow(axis, 0, of_two), cells.narrow(axis, 1, of_two)
    torch.lerp(first, second, 0.5, out=means.narrow(axis, 0, of_two))
    if count == length:
        means.narrow(axis, of_two, 1).copy_(cells.narrow(axis, of_two, 1))


def _add_to_cells(gradient: Tensor, of_means: Tensor, axis: int) -> None:
    """Adds the gradient of means to the gradient of the cells they are of."""
    count = gradient.shape[axis] - 1
    of_two, of_last = of_means.narrow(axis, 0, count), of_means.narrow(axis, count, 1)
    for first in (0, 1):
        gradient.narrow(axis, first, count).add_(of_two, alpha=0.5)
    gradient.narrow(axis, count, 1).add_(of_last)
