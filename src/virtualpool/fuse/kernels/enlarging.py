"""What reads an enlarged map, computed of the map before: twice as many rows and columns.

Along one axis a nearest enlargement `u` of `y` is `u[2i] = u[2i + 1] = y[i]`, and a bilinear one,
without aligned corners, `u[2i] = y[i - 1]/4 + 3 y[i]/4` and `u[2i + 1] = 3 y[i]/4 + y[i + 1]/4`,
with the first and the last value repeated. So a kernel with an even stride always reads the same
mixture of `y`, as it does of cells (`folding`), and its weights can be added up:

    (a, b, c) at -1, 0, 1   becomes   (a, b + c) at -1, 0, or
                                      (3a/4 + b/4, a/4 + 3b/4 + 3c/4, c/4) at -1, 0, 1
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from virtualpool.fuse.kernels.folding import Axis, Weights, axes, handed_out
from virtualpool.fuse.kernels.reduced import mended
from virtualpool.fuse.kernels.strips import Strip
from virtualpool.operator.exporting import is_exporting_open
from virtualpool.operator.pool import Axes, repeated, virtual_pool, window_size


def fold_enlarged(kernel: Tensor, padding: Axes, dilation: Axes, mode: str) -> Tensor:
    """A kernel with an even stride for an enlarged map, folded into one for the map before.

    Args:
        kernel: (out, in, rows, columns).
        padding: zero padding on each side of the enlarged map, 0 or 1.
        dilation: distance of two taps on the enlarged map.
        mode: "nearest" or "bilinear".

    Returns:
        The kernel (out, in, cells, cells), with a dilation of one.

    >>> kernel = torch.tensor([4.0, 8.0, 12.0]).view(1, 1, 1, 3)
    >>> fold_enlarged(kernel, (0, 1), (1, 1), "nearest").flatten()
    tensor([ 4., 20.])
    >>> fold_enlarged(kernel, (0, 1), (1, 1), "bilinear")[0, 0].sum(0)
    tensor([ 5., 16.,  3.])
    """
    rows, columns = axes(kernel.shape[-2:], padding, dilation)
    return handed_out(kernel, rows, columns, _REPEATED if _is_nearest(mode) else _BLENDED)


def enlarged_cells(
    x: Tensor, size: Axes, target: Axes, mode: str, factor: int, *, is_reduced: bool
) -> Tensor:
    """An enlarged map at its even positions.

    Args:
        x: the map before (N, C, H, W), or its reduced map.
        size: (H, W) of the map before.
        target: the size of the enlarged map.
        mode: "nearest" or "bilinear".
        factor: 2, or 4 of a nearest enlargement. Where the target is not so many times the size,
            the map is enlarged in full.
        is_reduced: whether `x` is a reduced map.

    >>> x = torch.tensor([[[[0.0, 4.0]]]])
    >>> enlarged_cells(x, (1, 2), (2, 4), "bilinear", 2, is_reduced=False)
    tensor([[[[0., 3.]]]])
    """
    full = virtual_pool(x, size) if is_reduced else x
    if not _is_enlarged_by(factor, size, target):
        return functional.interpolate(full, size=target, mode=mode)[..., ::2, ::2]
    full = _halfway(full, factor)
    if _is_nearest(mode):
        return full
    for axis, before in ((-2, (1, 0)), (-1, (0, 1))):
        neighbours = repeated(full, before, (0, 0)).narrow(axis, 0, full.shape[axis])
        full = torch.lerp(full, neighbours, 0.25)
    return full


def convolution_of_enlarged(
    x: Tensor,
    size: Axes,
    target: Axes,
    weights: tuple[Tensor, Tensor],
    bias: Tensor | None,
    stride: Axes,
    padding: Axes,
    dilation: Axes,
    groups: int,
    mode: str,
    factor: int,
    *,
    is_reduced: bool,
) -> Tensor:
    """A convolution of an enlarged map with an even stride, of the map before.

    Args:
        x: the map before (N, C, H, W), or its reduced map.
        size: (H, W) of the map before.
        target: the size of the enlarged map.
        weights: the kernel folded (`fold_enlarged`), and as it is.
        bias: (out,), or none.
        stride: on the enlarged map, as are padding and dilation.
        padding: 0 or 1 on each side; no position after the last row or column may be read.
        dilation: distance of two taps.
        groups: as for `torch.conv2d`.
        mode: "nearest" or "bilinear".
        factor: as of `enlarged_cells`.
        is_reduced: whether `x` is a reduced map.
    """
    folded, weight = weights
    full = virtual_pool(x, size) if is_reduced else x
    if is_exporting_open(size) or not _is_enlarged_by(factor, size, target):
        enlarged = functional.interpolate(full, size=target, mode=mode)
        return torch.conv2d(enlarged, weight, bias, stride, padding, dilation, groups)
    full = _halfway(full, factor)
    rows, columns = along = axes(weight.shape[-2:], padding, dilation)
    kernel, padded = (rows.taps, columns.taps), (2 * padding[0], 2 * padding[1])
    outputs = window_size(target, kernel, stride, padded, dilation)
    half = stride[0] // 2, stride[1] // 2
    if _is_nearest(mode):
        # Zeros stand before the map; those after it make a row and a column too many.
        result = torch.conv2d(full, folded, bias, half, padding, 1, groups)
        return result[..., : outputs[0], : outputs[1]] if any(padding) else result
    below, right = (
        max(0, (count - 1) * step - 1 + cells - length)
        for count, step, cells, length in zip(
            outputs, half, folded.shape[2:], full.shape[2:], strict=True
        )
    )
    frame = repeated(full, (1, 1), (below, right))
    result = torch.conv2d(frame, folded, bias, half, 0, 1, groups)
    return mended(result, _beyond(full, target, weight, stride, along, groups))


def _beyond(
    full: Tensor, target: Axes, weight: Tensor, stride: Axes, along: tuple[Axis, Axis], groups: int
) -> Iterator[Strip]:
    """The excess where a kernel reads the row or the column before a bilinear enlargement.

    They are zero, and the map before, its first row repeated, has there what the first row has.
    """
    rows, columns = along
    if rows.padding:
        row = functional.interpolate(full[..., :1, :], size=(1, target[1]), mode="bilinear")
        row = repeated(row, (0, columns.padding), (0, 0))
        geometry = (1, stride[1]), 0, (1, columns.dilation)
        yield -2, 0, -torch.conv2d(row, weight.narrow(-2, 0, 1), None, *geometry, groups)
    if columns.padding:
        column = functional.interpolate(full[..., :1], size=(target[0], 1), mode="bilinear")
        geometry = (stride[0], 1), (rows.padding, 0), (rows.dilation, 1)
        yield -1, 0, -torch.conv2d(column, weight.narrow(-1, 0, 1), None, *geometry, groups)


def both(size: Any) -> Axes:
    """A size as `functional.interpolate` takes it, one number or two, as two.

    >>> both(3), both([3, 4])
    ((3, 3), (3, 4))
    """
    return (size[0], size[1]) if isinstance(size, tuple | list) else (size, size)


def multiplied(size: Axes, factor: int) -> Axes:
    """So many times a size.

    >>> multiplied((3, 4), 2)
    (6, 8)
    """
    return size[0] * factor, size[1] * factor


def _is_enlarged_by(factor: int, size: Axes, target: Axes) -> bool:
    return target == multiplied(size, factor)


def _halfway(full: Tensor, factor: int) -> Tensor:
    """The map of which the enlarged one has twice the rows and columns."""
    if factor == 2:
        return full
    return functional.interpolate(full, scale_factor=factor // 2, mode="nearest")


def _is_nearest(mode: str) -> bool:
    return mode != "bilinear"


Mixture = Callable[[int], dict[int, float]]


def _repeated_at(position: int) -> dict[int, float]:
    """Of which values of the map before a nearest enlargement has how much at a position."""
    return {position // 2: 1.0}


def _blended_at(position: int) -> dict[int, float]:
    """Of which values of the map before a bilinear enlargement has how much at a position."""
    first = (position - 1) // 2
    share = 0.25 if position % 2 == 0 else 0.75
    return {first: share, first + 1: 1 - share}


def _mixed(mixture: Mixture) -> Weights:
    def weights(axis: Axis, device: torch.device) -> Tensor:
        taps = [mixture(position) for position in axis.positions]
        first, last = min(taps[0]), max(taps[-1])
        rows = [[tap.get(cell, 0.0) for cell in range(first, last + 1)] for tap in taps]
        return torch.tensor(rows, device=device)

    return weights


_REPEATED, _BLENDED = _mixed(_repeated_at), _mixed(_blended_at)
