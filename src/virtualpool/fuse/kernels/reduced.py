"""Operations on reduced maps with the same results as on the full, interpolated maps."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from virtualpool.fuse.kernels.borders import extended, inside
from virtualpool.fuse.kernels.folding import axes
from virtualpool.fuse.kernels.recording import may_write_in_place
from virtualpool.fuse.kernels.sites import observed
from virtualpool.fuse.kernels.strips import Strip, add, add_in_place, strips
from virtualpool.fuse.kernels.windows import Windows
from virtualpool.fuse.onnx.phases import convolution_by_phases
from virtualpool.operator.exporting import (
    is_exporting_for_onnx_runtime,
    is_exporting_open,
    is_exporting_program,
)
from virtualpool.operator.pool import Axes, repeated, virtual_pool, window_size
from virtualpool.torch_private import is_exporting


def framed(
    reduced: Tensor,
    size: Axes,
    outputs: Axes,
    cells: Axes,
    stride: Axes,
    before: Axes,
    *,
    rectify: bool = False,
    site: str | None = None,
    may_be_bare: bool = False,
) -> Tensor:
    """The reduced map with the cells that a folded kernel reads around it: no more padding then.

    It is a step of its own, so that who called may let go of the reduced map before the next.

    Args:
        reduced: (N, C, h, w).
        size: (H, W) of the full map.
        outputs: the size that the convolution makes.
        cells: the size of the folded kernel.
        stride: on the reduced map: half of that on the full one.
        before: how many cells the kernel reaches before an output's own, 0 or 1.
        rectify: apply `relu` to the map before.
        site: the name under which that is observed, if it is (`sites.observed`).
        may_be_bare: whether `convolution_of_frame` reads it, which needs no frame, or makes it, in
            files for ONNX Runtime.
    """
    if may_be_bare and is_exporting_for_onnx_runtime(reduced):
        return functional.relu(reduced) if rectify else reduced
    after = _cells_after(reduced, outputs, cells, stride, before)
    frame = extended(reduced, size, before, after, rectify=rectify)
    if site is not None:
        observed(inside(frame, reduced.shape[-2:], before), site)
    return frame


def convolution_of_frame(
    frame: Tensor,
    size: Axes,
    outputs: Axes,
    weight: Tensor,
    bias: Tensor | None,
    stride: Axes,
    before: Axes,
    groups: int,
) -> Tensor:
    """A convolution of an interpolated map, given as its framed reduced map.

    Args:
        frame: the result of `framed`.
        size: (H, W) of the full map.
        outputs: the size that the convolution makes.
        weight: the folded kernel (`folding.fold`).
        bias: (out,), or none.
        stride: on the reduced map: half of that on the full one.
        before: how many cells the kernel reaches before an output's own, 0 or 1.
        groups: as for `torch.conv2d`.
    """
    if is_exporting_for_onnx_runtime(frame):
        given = weight, bias, stride, before, groups
        result = convolution_by_phases(frame, size, outputs, *given)
        if result is not None:
            return result
        after = _cells_after(frame, outputs, weight.shape[2:], stride, before)
        frame = extended(frame, size, before, after)
    return torch.conv2d(frame, weight, bias, stride, 0, 1, groups)


def convolution(
    reduced: Tensor,
    size: Axes,
    outputs: Axes,
    weight: Tensor,
    bias: Tensor | None,
    stride: Axes,
    before: Axes,
    groups: int,
    **framing: Any,
) -> Tensor:
    """Frames a reduced map (`framed`, which `framing` is for) and convolves it.

    A fused graph does so in two steps. Here `weight` is the folded kernel (`folding.fold`).
    """
    cells = weight.shape[2], weight.shape[3]
    given = size, outputs, cells, stride, before
    frame = framed(reduced, *given, may_be_bare=True, **framing)
    return convolution_of_frame(frame, size, outputs, weight, bias, stride, before, groups)


def mended_convolution(
    reduced: Tensor,
    size: Axes,
    outputs: Axes,
    weights: tuple[Tensor, Tensor],
    bias: Tensor | None,
    stride: Axes,
    padding: Axes,
    dilation: Axes,
    groups: int,
    *,
    rectify: bool = False,
    site: str | None = None,
) -> Tensor:
    """A convolution of an interpolated map with zeros beside it, whose border is mended then.

    Args:
        reduced: (N, C, h, w).
        size: (H, W) of the full map.
        outputs: the size that the convolution makes.
        weights: the kernel folded, and as it is for the full map.
        bias: (out,), or none.
        stride: on the reduced map: half of that on the full one.
        padding: zero padding on each side of the full map.
        dilation: distance of two taps on the full map.
        groups: as for `torch.conv2d`.
        rectify: apply `relu` to the map before, which may be written there.
        site: the name under which that is observed, if it is (`sites.observed`).
    """
    folded, weight = weights
    along = axes(weight.shape[-2:], padding, dilation)
    before = along[0].before, along[1].before
    if not may_write_in_place(reduced) and all(axis.is_exact_when_extended for axis in along):
        given = size, outputs, folded, bias, stride, before, groups
        return convolution(reduced, *given, rectify=rectify, site=site)
    if rectify:
        reduced = functional.relu(reduced, inplace=may_write_in_place(reduced))
    if site is not None:
        observed(reduced, site)
    after = _cells_after(reduced, outputs, folded.shape[-2:], stride, before)
    source, border = reduced, before
    if after != before:
        cells = folded.shape[2], folded.shape[3]
        source, border = between_zeros(reduced, outputs, cells, stride, before), (0, 0)
    result = torch.conv2d(source, folded, bias, stride, border, 1, groups)
    steps = 2 * stride[0], 2 * stride[1]
    return mended(result, strips(reduced, size, outputs, weight, steps, along, groups))


def between_zeros(
    reduced: Tensor, outputs: Axes, cells: Axes, stride: Axes, before: Axes
) -> Tensor:
    """The reduced map with zeros around, so many that a folded kernel makes its outputs.

    Args:
        reduced: (N, C, h, w).
        outputs: the size that the convolution makes.
        cells: the size of the folded kernel.
        stride: on the reduced map: half of that on the full one.
        before: how many cells the kernel reaches before an output's own.

    >>> between_zeros(torch.ones(1, 1, 1, 2), (1, 2), (1, 2), (1, 1), (0, 0))
    tensor([[[[1., 1., 0.]]]])
    """
    after = _cells_after(reduced, outputs, cells, stride, before)
    return functional.pad(reduced, (before[1], after[1], before[0], after[0]))


def transposed_convolution(
    reduced: Tensor,
    size: Axes,
    weights: tuple[Tensor, Tensor],
    bias: Tensor | None,
    padding: Axes,
    dilation: Axes,
    groups: int,
) -> Tensor:
    """A convolution of an interpolated map in full, with a stride of one.

    Args:
        reduced: (N, C, h, w).
        size: (H, W) of the full map.
        weights: the kernel spread (`folding.spread`), and as it is for the full map.
        bias: (out,), or none.
        padding: zero padding on each side of the full map.
        dilation: distance of two taps, on the full map.
        groups: as for `torch.conv2d`.
    """
    spread, weight = weights
    if is_exporting():
        # Runtimes interpolate faster than they convolve so: ONNX Runtime takes twice the time.
        full = virtual_pool(reduced, size)
        return torch.conv2d(full, weight, bias, 1, padding, dilation, groups)
    along = axes(weight.shape[-2:], padding, dilation)
    cropped = along[0].reach_before, along[1].reach_before
    more = 1 - size[0] % 2, 1 - size[1] % 2
    result = torch.conv_transpose2d(reduced, spread, bias, 2, cropped, more, groups)
    outputs = result.shape[2], result.shape[3]
    return mended(result, strips(reduced, size, outputs, weight, (1, 1), along, groups))


def mended(result: Tensor, strips: Iterable[Strip]) -> Tensor:
    """A convolution's result with the strips added that it lacks."""
    add_strip = add_in_place if may_write_in_place(result) else add
    for strip in strips:
        result = add_strip(result, strip)
    return result


def _cells_after(
    reduced: Tensor, outputs: Axes, kernel: Sequence[int], stride: Axes, before: Axes
) -> Axes:
    """How many cells are read beyond the last one; less than 0 where that is not reached."""
    rows, columns = (
        (count - 1) * step + cells - first - length
        for count, step, cells, first, length in zip(
            outputs, stride, kernel, before, reduced.shape[-2:], strict=True
        )
    )
    return rows, columns


def average_pool(reduced: Tensor, size: Axes, kernel: int, stride: int) -> Tensor:
    """Average pooling of an interpolated map: 2x2, or 3x3 with a padding of one, zeros counted.

    Args:
        reduced: (N, C, h, w).
        size: (H, W) of the full map.
        kernel: 2, or 3 with a padding of one.
        stride: on the full map; even.

    >>> average_pool(torch.tensor([[[[0.0, 4.0, 2.0]]]]), (2, 6), 2, 2)
    tensor([[[[1.0000, 3.5000, 2.0000]]]])
    >>> average_pool(torch.tensor([[[[6.0, 6.0, 6.0]]]]), (1, 5), 3, 2)
    tensor([[[[1.3333, 2.0000, 1.3333]]]])
    """
    before = kernel // 3
    if is_exporting_open(size):
        return functional.avg_pool2d(virtual_pool(reduced, size), kernel, stride, before)
    counts = window_size(size, (kernel, kernel), (stride, stride), (2 * before, 2 * before))
    windows = Windows(stride // 2, before)
    sides = (before, before), (1, 1)
    cells = extended(reduced, size, *sides) if before else repeated(reduced, *sides)
    for axis in (-2, -1):
        centre, after = (windows.cells(cells, axis, offset, counts[axis]) for offset in (0, 1))
        if before:
            # The mean of a cell and of the virtual places on both sides of it.
            between = torch.lerp(windows.cells(cells, axis, -1, counts[axis]), after, 0.5)
            cells = torch.lerp(centre, between, 1 / 3)
        else:
            # The mean of a cell and of the virtual place after it, half-way to the next cell.
            cells = torch.lerp(centre, after, 0.25)
    return cells


def mean(reduced: Tensor, size: Axes, keepdim: bool = True) -> Tensor:
    """The mean (N, C, 1, 1) over all positions of an interpolated map.

    >>> mean(torch.tensor([[[[0.0, 3.0]]]]), (1, 3)).item()
    1.5
    """
    if reduced.dtype.itemsize < 4:
        # As PyTorch does: half precision does not hold the sum of a large map.
        return mean(reduced.float(), size, keepdim).to(reduced.dtype)
    if is_exporting_open(size):
        return virtual_pool(reduced, size).mean((-2, -1), keepdim)
    result = (_weighted_mean if is_exporting() else _mean_by_axes)(reduced, size)
    return result if keepdim else result.flatten(-3)


def _weighted_mean(cells: Tensor, size: Axes) -> Tensor:
    """One product: of a dozen small steps each would be rounded where they are quantised."""
    # XNNPACK has a mean over both axes, and no sum.
    by_mean = is_exporting_program()
    rows, columns = (
        cells.new_tensor(_shares(count, length, count if by_mean else 1))
        for count, length in zip(cells.shape[-2:], size, strict=True)
    )
    shares = torch.outer(rows, columns)
    if by_mean:
        return (cells * shares).mean((-2, -1), keepdim=True)
    return torch.matmul(cells.flatten(-2), shares.reshape(-1, 1)).unsqueeze(-1)


def _shares(count: int, length: int, times: int) -> list[float]:
    """So many times the weight of each cell in the mean over the positions of a full axis."""
    shares = [2.0] * count
    shares[0] -= 0.5
    shares[-1] += 0.5 if length % 2 == 0 else -0.5
    return [times * share / length for share in shares]


def _mean_by_axes(cells: Tensor, size: Axes) -> Tensor:
    for axis in (-1, -2):
        cells = _sum_along(axis, cells, size[axis])
    return cells / (size[0] * size[1])


def _sum_along(axis: int, x: Tensor, length: int) -> Tensor:
    first, last = x.narrow(axis, 0, 1), x.narrow(axis, x.shape[axis] - 1, 1)
    missing = (first - last) / 2 if length % 2 == 0 else (first + last) / 2
    return 2 * x.sum(axis, keepdim=True) - missing
