"""Operations on reduced maps that give what the operation gives on the full, interpolated map."""

import torch
from torch import Tensor
from torch.nn import functional

from virtualpool.fuse.borders import extended, repeated
from virtualpool.fuse.folding import axes
from virtualpool.fuse.recording import may_write_in_place
from virtualpool.fuse.strips import add, add_in_place, strips
from virtualpool.fuse.windows import Windows
from virtualpool.pool import Axes, window_size


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
    cells = repeated(reduced, (0, 0), (1, 1))
    windows = Windows(stride // 2, before=0)
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


def _sum_along(axis: int, map: Tensor, length: int) -> Tensor:
    first, last = map.narrow(axis, 0, 1), map.narrow(axis, map.shape[axis] - 1, 1)
    missing = (first - last) / 2 if length % 2 == 0 else (first + last) / 2
    return 2 * map.sum(axis, keepdim=True) - missing
