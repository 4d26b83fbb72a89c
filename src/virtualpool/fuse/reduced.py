"""Operations on reduced maps that give what the operation gives on the full, interpolated map."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from virtualpool.fuse.borders import extended
from virtualpool.fuse.folding import axes
from virtualpool.fuse.strips import add, add_in_place, strips
from virtualpool.pool import Axes, virtual_pool, window_size


def convolution(
    reduced: Tensor,
    size: Axes,
    outputs: Axes,
    weight: Tensor,
    bias: Tensor | None,
    stride: Axes,
    before: Axes,
    groups: int,
) -> Tensor:
    """A convolution of an interpolated map, by its folded kernel on the extended reduced map.

    Args:
        reduced: (N, C, h, w).
        size: (H, W) of the full map.
        outputs: the size that the convolution makes.
        weight: the folded kernel (`folding.fold`).
        bias: (out,), or none.
        stride: on the reduced map: half of that on the full one.
        before: how many cells the kernel reaches before an output's own, 0 or 1.
        groups: as for `torch.conv2d`.
    """
    after = _cells_after(reduced, outputs, weight, stride, before)
    frame = extended(reduced, size, before, after)
    return torch.conv2d(frame, weight, bias, stride, 0, 1, groups)


def mended_convolution(
    reduced: Tensor,
    size: Axes,
    outputs: Axes,
    weights: tuple[Tensor, Tensor, Tensor],
    bias: Tensor | None,
    stride: Axes,
    padding: Axes,
    dilation: Axes,
    groups: int,
) -> Tensor:
    """A convolution of an interpolated map with zeros beside it, whose border is mended then.

    Args:
        reduced: (N, C, h, w).
        size: (H, W) of the full map.
        outputs: the size that the convolution makes.
        weights: the kernel folded, folded along its rows only, and as it is for the full map.
        bias: (out,), or none.
        stride: on the reduced map: half of that on the full one.
        padding: zero padding on each side of the full map.
        dilation: distance of two taps on the full map.
        groups: as for `torch.conv2d`.
    """
    folded, folded_rows, weight = weights
    along = axes(weight.shape[-2:], padding, dilation)
    before = along[0].before, along[1].before
    is_exact = all(axis.is_exact_when_extended for axis in along)
    if is_exact and (not may_write_in_place(reduced) or reduced.numel() < _LARGE):
        return convolution(reduced, size, outputs, folded, bias, stride, before, groups)
    after = _cells_after(reduced, outputs, folded, stride, before)
    source, border = reduced, before
    if after != before:
        source, border = functional.pad(reduced, (before[1], after[1], before[0], after[0])), (0, 0)
    result = torch.conv2d(source, folded, bias, stride, border, 1, groups)
    add_strip = add_in_place if may_write_in_place(result) else add
    for strip in strips(reduced, size, outputs, weight, folded_rows, stride, along, groups):
        result = add_strip(result, strip)
    return result


_LARGE = 4_000_000
"""From so many values on, a copy that extends a map costs more than the strips that mend it."""


def _cells_after(
    reduced: Tensor, outputs: Axes, weight: Tensor, stride: Axes, before: Axes
) -> Axes:
    """How many cells are read beyond the last one; less than 0 where that is not reached."""
    rows, columns = (
        (count - 1) * step + cells - first - length
        for count, step, cells, first, length in zip(
            outputs, stride, weight.shape[-2:], before, reduced.shape[-2:], strict=True
        )
    )
    return rows, columns


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
    if _is_recorded(reduced):
        # Many small operations are slow to go back through.
        padding = kernel // 3
        return functional.max_pool2d(virtual_pool(reduced, size), kernel, stride, padding)
    if (kernel, stride) == (2, 2) and may_write_in_place(reduced):
        return _max_pool_by_image(reduced, size)
    if is_rectified and torch.compiler.is_exporting():
        return _max_pool_by_convolutions(reduced, size, kernel, stride)
    before = kernel // 3
    rows, columns = window_size(size, (kernel, kernel), (stride, stride), (2 * before, 2 * before))
    # Beyond an end, the copied cell is in the window already, and changes no maximum.
    cells = functional.pad(reduced, (before, 1, before, 1), mode="replicate")
    windows = _Windows(stride // 2, before)
    return windows.largest(
        cells, -2, rows, lambda candidates: windows.largest(candidates, -1, columns)
    )


def average_pool(reduced: Tensor, size: Axes, stride: int) -> Tensor:
    """Average pooling with windows of 2x2 of an interpolated map.

    Args:
        reduced: (N, C, h, w).
        size: (H, W) of the full map.
        stride: on the full map; even.

    >>> average_pool(torch.tensor([[[[0.0, 4.0, 2.0]]]]), (2, 6), 2)
    tensor([[[[1.0000, 3.5000, 2.0000]]]])
    """
    counts = window_size(size, (2, 2), (stride, stride), (0, 0))
    cells = functional.pad(reduced, (0, 1, 0, 1), mode="replicate")
    windows = _Windows(stride // 2, before=0)
    for axis in (-2, -1):
        # The mean of a cell and of the virtual place after it, half-way to the next cell.
        centre, after = (windows.cells(cells, axis, offset, counts[axis]) for offset in (0, 1))
        cells = torch.lerp(centre, after, 0.25)
    return cells


def mean(reduced: Tensor, size: Axes, keepdim: bool = True) -> Tensor:
    """The mean (N, C, 1, 1) over all positions of an interpolated map.

    >>> mean(torch.tensor([[[[0.0, 3.0]]]]), (1, 3)).item()
    1.5
    """
    # As PyTorch does: half precision does not hold the sum of a large map.
    total = reduced.float() if reduced.dtype.itemsize < 4 else reduced
    for axis in (-1, -2):
        total = _sum_along(axis, total, size[axis])
    result = (total / (size[0] * size[1])).to(reduced.dtype)
    return result if keepdim else result.flatten(-3)


def may_write_in_place(map: Tensor) -> bool:
    """Whether a map may be changed: compilers fuse what is plain, autograd keeps what was read."""
    return not torch.compiler.is_compiling() and not _is_recorded(map)


def _is_recorded(map: Tensor) -> bool:
    return torch.is_grad_enabled() and map.requires_grad


def _max_pool_by_convolutions(reduced: Tensor, size: Axes, kernel: int, stride: int) -> Tensor:
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


def _max_pool_by_image(reduced: Tensor, size: Axes) -> Tensor:
    """Max pooling with windows of 2x2 and a stride of two, an image at a time.

    The few passes over one image find it in the processor's cache.
    """
    pooled = torch.empty_like(reduced)
    below = torch.empty_like(reduced[:1])
    for image in range(len(reduced)):
        _max_pool_into(pooled[image : image + 1], reduced[image : image + 1], below)
    return _cropped(pooled, size[0] // 2, size[1] // 2)


def _cropped(map: Tensor, rows: int, columns: int) -> Tensor:
    """The first rows and columns, in memory of their own as all that a pooling gives."""
    cropped = map[..., :rows, :columns]
    return cropped if cropped.shape == map.shape else cropped.clone()


def _max_pool_into(pooled: Tensor, cells: Tensor, below: Tensor) -> None:
    _means_into(below, cells, -2)
    _means_into(pooled, cells, -1)
    torch.maximum(pooled, cells, out=pooled)
    torch.maximum(pooled, below, out=pooled)
    inner = pooled[..., :-1]
    torch.maximum(inner, _mean(below[..., :-1], below[..., 1:]), out=inner)


def _means_into(means: Tensor, cells: Tensor, axis: int) -> None:
    """The means of each cell and the next along an axis; of the last, itself."""
    count = cells.shape[axis] - 1
    first, last = means.narrow(axis, 0, count), means.narrow(axis, count, 1)
    torch.lerp(cells.narrow(axis, 0, count), cells.narrow(axis, 1, count), 0.5, out=first)
    last.copy_(cells.narrow(axis, count, 1))


def _mean(one: Tensor, other: Tensor) -> Tensor:
    return torch.lerp(one, other, 0.5)


def _same(map: Tensor) -> Tensor:
    return map


@dataclass(frozen=True)
class _Windows:
    """Windows along an axis of cells: each holds a cell, and the means with its neighbours.

    Attributes:
        step: the distance of two windows, in cells.
        before: 1 if the mean with the cell before is in a window, too, else 0.
    """

    step: int
    before: int

    def cells(self, map: Tensor, axis: int, offset: int, count: int) -> Tensor:
        """The cells at an offset from those of `count` windows; the first is at `before`."""
        along = map.narrow(axis, self.before + offset, (count - 1) * self.step + 1)
        if self.step == 1:
            return along
        return along[..., :: self.step] if axis == -1 else along[..., :: self.step, :]

    def largest(
        self, map: Tensor, axis: int, count: int, inner: Callable[[Tensor], Tensor] = _same
    ) -> Tensor:
        """The largest of `inner`, which works along other axes, over each window."""
        centre = self.cells(map, axis, 0, count)
        largest = inner(centre)
        if self.before and self.step == 1:
            # Each mean of two neighbours is in two windows.
            length = map.shape[axis] - 1
            means = _mean(map.narrow(axis, 0, length), map.narrow(axis, 1, length))
            means = inner(means)
            candidates = [means.narrow(axis, offset, count) for offset in (0, 1)]
        else:
            offsets = (1, -1) if self.before else (1,)
            candidates = [
                inner(_mean(centre, self.cells(map, axis, offset, count))) for offset in offsets
            ]
        for candidate in candidates:
            largest = torch.maximum(largest, candidate)
        return largest


def _sum_along(axis: int, map: Tensor, length: int) -> Tensor:
    first, last = map.narrow(axis, 0, 1), map.narrow(axis, map.shape[axis] - 1, 1)
    missing = (first - last) / 2 if length % 2 == 0 else (first + last) / 2
    return 2 * map.sum(axis, keepdim=True) - missing
