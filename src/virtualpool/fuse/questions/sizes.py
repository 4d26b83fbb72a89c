"""Sizes of maps, computed when the fused model runs: no map has to be there in full."""

from torch import Tensor

from virtualpool.operator.pool import Axes, virtual_pool

Range = tuple[int, int | None, int]
"""Some rows or columns: the first, the one to stop before, and the step; none is negative."""


def size_of(x: Tensor, axes: Axes = (-2, -1)) -> Axes:
    """The size (H, W) of a map; its rows and columns are the last axes, or others that are told.

    >>> import torch
    >>> size_of(torch.zeros(1, 3, 5, 7)), size_of(torch.zeros(1, 5, 7, 3), (1, 2))
    ((5, 7), (5, 7))
    """
    return x.shape[axes[0]], x.shape[axes[1]]


def even_positions(x: Tensor, axes: Axes = (-2, -1)) -> Tensor:
    """The values at the even rows and columns of a map (N, C, H, W), or of one of other axes.

    >>> import torch
    >>> even_positions(torch.arange(9.0).view(1, 1, 3, 3)).flatten()
    tensor([0., 2., 6., 8.])
    >>> even_positions(torch.zeros(1, 5, 7, 3), (1, 2)).shape
    torch.Size([1, 3, 4, 3])
    """
    slices = [slice(None)] * x.dim()
    for axis in axes:
        slices[axis] = slice(None, None, 2)
    return x[tuple(slices)]


def recovered(reduced: Tensor, size: Axes, axes: Axes) -> Tensor:
    """The virtual pool of a map whose rows and columns are other axes than the last.

    >>> import torch
    >>> recovered(torch.tensor([[[[0.0, 5.0], [2.0, 7.0]]]]), (1, 3), (1, 2)).squeeze()
    tensor([[0., 5.],
            [1., 6.],
            [2., 7.]])
    """
    full = virtual_pool(reduced.movedim(axes, (-2, -1)), size)
    return full.movedim((-2, -1), axes)


ALL: Range = (0, None, 1)
"""Every row, or every column."""


def sliced(
    x: Tensor, rows: Range, columns: Range, channels: tuple[int | None, ...] = (None, None)
) -> Tensor:
    """Every so many rows and columns of a map (N, C, H, W), from one on, of some channels.

    Args:
        x: the map.
        rows: the first row, the one to stop before (None is none) and how many there are from one
            to the next.
        columns: the same of the columns.
        channels: the channels for `slice`.

    >>> import torch
    >>> sliced(torch.arange(12.0).view(1, 1, 3, 4), (1, None, 2), (0, 3, 2)).flatten()
    tensor([4., 6.])
    """
    return x[:, slice(*channels), slice(*rows), slice(*columns)]


def sliced_size(size: Axes, rows: Range, columns: Range) -> Axes:
    """The size of the result of `sliced` for a map of a size (H, W).

    >>> sliced_size((3, 4), (1, None, 2), (0, 3, 2))
    (1, 2)
    """
    height, width = (
        -(-((length if stop is None else min(length, stop)) - first) // step)
        for length, (first, stop, step) in zip(size, (rows, columns), strict=True)
    )
    return height, width
