"""A border mended: the reduced map is padded with zeros, and a correction is added.

With zeros beside the reduced map just one virtual position at each end is wrong, for any
kernel, padding and dilation:

- the row -1 is half of the first cell, and should be zero;
- where H is even, the last row is half of the last cell, and should be all of it;
- where H is odd, the row H is half of the last cell, and should be zero.

A kernel turns the difference into one row of the result for each tap that reads it.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from virtualpool.fuse.kernels.folding import Axis
from virtualpool.operator.pool import Axes, virtual_pool

Strip = tuple[int, int, Tensor]
"""The axis, the place along it, and the summand there, of length one along the axis."""


def strips(
    reduced: Tensor,
    size: Axes,
    outputs: Axes,
    weight: Tensor,
    stride: Axes,
    axes: tuple[Axis, Axis],
    groups: int,
) -> Iterator[Strip]:
    """The summands that a convolution with zeros beside the reduced map lacks.

    Args:
        reduced: (N, C, h, w).
        size: (H, W) of the full map.
        outputs: the size of the result.
        weight: the kernel for the full map.
        stride: on the full map.
        axes: the taps along rows and columns.
        groups: as for `torch.conv2d`.
    """
    rows, columns = axes
    # Rows of the full map, whose columns are then all right.
    for place, tap, cell, share in _wrong(rows, size[0], stride[0], outputs[0]):
        row = virtual_pool(_line(reduced, -2, cell), (1, size[1])) * share
        geometry = (1, stride[1]), (0, columns.padding), (1, columns.dilation)
        yield -2, place, torch.conv2d(row, weight.narrow(-2, tap, 1), None, *geometry, groups)
    # Columns of the map with zeros above and below: its rows have been mended.
    for place, tap, cell, share in _wrong(columns, size[1], stride[1], outputs[1]):
        column = _between_zeros(_line(reduced, -1, cell), size[0], rows.padding) * share
        geometry = (stride[0], 1), (0, 0), (rows.dilation, 1)
        yield -1, place, torch.conv2d(column, weight.narrow(-1, tap, 1), None, *geometry, groups)


def _between_zeros(column: Tensor, height: int, padding: int) -> Tensor:
    """A column (N, C, h, 1) with zeros above and below, interpolated and padded."""
    cells = column.shape[-2]
    interpolated = virtual_pool(functional.pad(column, (0, 0, 1, 1)), (2 * cells + 3, 1))
    # It starts at the virtual position -2 and ends at 2 h.
    return functional.pad(interpolated, (0, 0, padding - 2, height + padding - 2 * cells - 1))


def add_in_place(result: Tensor, strip: Strip) -> Tensor:
    """Adds a strip to the result, which is changed."""
    axis, place, values = strip
    result.narrow(axis, place, 1).add_(values)
    return result


def add(result: Tensor, strip: Strip) -> Tensor:
    """A result with a strip added."""
    axis, place, values = strip
    sides = place, result.shape[axis] - 1 - place
    return result + functional.pad(values, sides if axis == -1 else (0, 0, *sides))


def _line(x: Tensor, axis: int, index: int) -> Tensor:
    return x.narrow(axis, index % x.shape[axis], 1)


def _wrong(
    axis: Axis, length: int, stride: int, count: int
) -> Iterator[tuple[int, int, int, float]]:
    """Where a tap reads a wrong position: place in the result, tap, cell, and its missing share."""
    last = (length - 1, 0.5) if length % 2 == 0 else (length, -0.5)
    for cell, (position, share) in ((0, (-1, -0.5)), (-1, last)):
        for tap, offset in enumerate(axis.positions):
            # Dynamo knows no divmod of sizes that it holds open.
            place = (position - offset) // stride
            if place * stride == position - offset and 0 <= place < count:
                yield place, tap, cell, share
