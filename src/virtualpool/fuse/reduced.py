"""Operations on reduced maps that give what the operation gives on the full, interpolated map."""

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from virtualpool.fuse.borders import extended
from virtualpool.fuse.sizes import Axes, window_size


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
        before: how many cells the kernel reaches before an output's own.
        groups: as for `torch.conv2d`.
    """
    rows, columns = (
        (count - 1) * step + cells - first - length
        for count, step, cells, first, length in zip(
            outputs, stride, weight.shape[-2:], before, reduced.shape[-2:], strict=True
        )
    )
    frame = extended(reduced, size, before, (rows, columns))
    return torch.conv2d(frame, weight, bias, stride, 0, 1, groups)


def max_pool(reduced: Tensor, size: Axes, kernel: int, stride: int) -> Tensor:
    """Max pooling of an interpolated map: 2x2, or 3x3 with a padding of one.

    Args:
        reduced: (N, C, h, w).
        size: (H, W) of the full map.
        kernel: 2, or 3 with a padding of one.
        stride: on the full map; even.

    >>> max_pool(torch.tensor([[[[0.0, 4.0, 2.0]]]]), (2, 6), 2, 2)
    tensor([[[[2., 4., 2.]]]])
    """
    padding = 2 * (kernel // 3)
    rows, columns = window_size(size, (kernel, kernel), (stride, stride), (padding, padding))
    return _largest(
        _largest(_virtual(candidate, -1, columns, kernel, stride))
        for candidate in _virtual(reduced, -2, rows, kernel, stride)
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
    for axis in (-1, -2):
        places = list(_virtual(reduced, axis, counts[axis], 2, stride))
        reduced = (places[0] + places[1]) / 2
    return reduced


def mean(reduced: Tensor, size: Axes, keepdim: bool = True) -> Tensor:
    """The mean (N, C, 1, 1) over all positions of an interpolated map.

    >>> mean(torch.tensor([[[[0.0, 3.0]]]]), (1, 3)).item()
    1.5
    """
    total = reduced
    for axis in (-1, -2):
        total = _sum_along(axis, total, size[axis])
    result = total / (size[0] * size[1])
    return result if keepdim else result.flatten(-3)


def _virtual(map: Tensor, axis: int, count: int, kernel: int, stride: int) -> Iterator[Tensor]:
    """What is at each place of `count` windows along an axis: cells, and means of two."""
    step, before = stride // 2, kernel // 3
    sides = (before, 1, 0, 0) if axis == -1 else (0, 0, before, 1)
    # Beyond an end, the copied cell is in the window already, and changes no maximum.
    padded = functional.pad(map, sides, mode="replicate")

    def cells(offset: int) -> Tensor:
        return padded.narrow(axis, before + offset, (count - 1) * step + 1)[_every(step, axis)]

    centre = cells(0)
    yield centre
    yield (centre + cells(1)) / 2
    if kernel == 3:
        yield (centre + cells(-1)) / 2


def _every(step: int, axis: int) -> tuple[Any, ...]:
    return (
        (..., slice(None, None, step))
        if axis == -1
        else (..., slice(None, None, step), slice(None))
    )


def _largest(candidates: Iterable[Tensor]) -> Tensor:
    return functools.reduce(torch.maximum, candidates)


def _sum_along(axis: int, map: Tensor, length: int) -> Tensor:
    first, last = map.narrow(axis, 0, 1), map.narrow(axis, map.shape[axis] - 1, 1)
    missing = (first - last) / 2 if length % 2 == 0 else (first + last) / 2
    return 2 * map.sum(axis, keepdim=True) - missing
