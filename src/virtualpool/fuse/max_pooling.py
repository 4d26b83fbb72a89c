"""Max pooling of an interpolated map, from its reduced map.

In a window each virtual position is a cell, a mean of two, or a mean of four.
"""

import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from virtualpool.fuse.borders import repeated
from virtualpool.fuse.recording import is_recorded, may_write_in_place
from virtualpool.fuse.windows import Windows, mean_of
from virtualpool.pool import Axes, virtual_pool, window_size


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
    is_halving = (kernel, stride) == (2, 2)
    if is_halving and may_write_in_place(reduced):
        return _halved(reduced, size)
    if is_halving and not torch.compiler.is_compiling():
        return _Halving.apply(reduced, size)  # pyright: ignore[reportReturnType]
    if is_recorded(reduced):
        # Many small operations are slow to go back through.
        padding = kernel // 3
        return functional.max_pool2d(virtual_pool(reduced, size), kernel, stride, padding)
    if is_rectified and torch.compiler.is_exporting():
        return _by_convolutions(reduced, size, kernel, stride)
    before = kernel // 3
    rows, columns = window_size(size, (kernel, kernel), (stride, stride), (2 * before, 2 * before))
    # Beyond an end, the copied cell is in the window already, and changes no maximum.
    cells = repeated(reduced, (before, before), (1, 1))
    windows = Windows(stride // 2, before)
    return windows.largest(
        cells, -2, rows, lambda candidates: windows.largest(candidates, -1, columns)
    )


def _by_convolutions(reduced: Tensor, size: Axes, kernel: int, stride: int) -> Tensor:
    """Max pooling of values that are not below zero.

    Runtimes have faster depthwise convolutions than slices. These pad with zeros, which are in no
    way of the maximum: where a neighbour is missing, the cell itself is in the window.
    """
    channels, padding = reduced.shape[1], 2 * (kernel // 3)
    rows, columns = window_size(size, (kernel, kernel), (stride, stride), (padding, padding))
    along = reduced.new_tensor([[0, 1, 0], [0, 0.5, 0.5], [0.5, 0.5, 0]])[:kernel]
    candidates = [
        torch.conv2d(
            reduced,
            torch.outer(along[row], along[column]).expand(channels, 1, 3, 3),
            None, stride // 2, 1, 1, channels,
        )
        for row in range(kernel)
        for column in range(kernel)
    ]  # fmt: skip
    return _cropped(functools.reduce(torch.maximum, candidates), rows, columns)


def _cropped(map: Tensor, rows: int, columns: int) -> Tensor:
    """The first rows and columns, in memory of their own as all that a pooling gives."""
    cropped = map[..., :rows, :columns]
    return cropped if cropped.shape == map.shape else cropped.clone()


class _Halving(torch.autograd.Function):
    """Windows of 2x2 and a stride of two, for training: of it only the reduced map is kept."""

    @staticmethod
    def forward(reduced: Tensor, size: Axes) -> Tensor:
        return _halved(reduced, size)

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


def _halved(reduced: Tensor, size: Axes) -> Tensor:
    """Max pooling with windows of 2x2 and a stride of two."""
    pooled = torch.empty_like(reduced)
    for images in _in_cache(reduced):
        _halve_into(pooled[images], reduced[images])
    return _cropped(pooled, size[0] // 2, size[1] // 2)


def _in_cache(map: Tensor) -> Iterator[slice]:
    """The images of a batch, so many at a time that a few passes find them in the cache."""
    count = max(_CACHED // max(map[:1].numel(), 1), 1)
    for first in range(0, len(map), count):
        yield slice(first, first + count)


_CACHED = 400_000
"""Values; more than one image of so many are slower together."""


def _halve_into(pooled: Tensor, cells: Tensor) -> None:
    below = _means(cells, -2)
    _means_into(pooled, cells, -1)
    torch.maximum(pooled, cells, out=pooled)
    torch.maximum(pooled, below, out=pooled)
    inner = pooled[..., :-1]
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


def _where_positive(map: Tensor, values: Tensor) -> Tensor:
    """Values where a map is above zero, zeros elsewhere."""
    # A selection by a mask is several times slower.
    return torch.ops.aten.threshold_backward(values, map, 0)


def _means(cells: Tensor, axis: int) -> Tensor:
    means = torch.empty_like(cells)
    _means_into(means, cells, axis)
    return means


def _means_into(means: Tensor, cells: Tensor, axis: int) -> None:
    """The means of each cell and the next along an axis; of the last, itself."""
    count = cells.shape[axis] - 1
    first, last = means.narrow(axis, 0, count), means.narrow(axis, count, 1)
    torch.lerp(cells.narrow(axis, 0, count), cells.narrow(axis, 1, count), 0.5, out=first)
    last.copy_(cells.narrow(axis, count, 1))


def _add_to_cells(gradient: Tensor, of_means: Tensor, axis: int) -> None:
    """Adds the gradient of means to that of the cells they are of."""
    count = gradient.shape[axis] - 1
    of_two, of_last = of_means.narrow(axis, 0, count), of_means.narrow(axis, count, 1)
    for first in (0, 1):
        gradient.narrow(axis, first, count).add_(of_two, alpha=0.5)
    gradient.narrow(axis, count, 1).add_(of_last)
