"""Rows of a layer's least-squares problem: patches that it reads, outputs that it is to give."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from virtualpool.graph.geometry import padding_sides, size_arguments

Positions = tuple[Tensor, Tensor]
"""Rows and columns of some positions of a map."""


def positions(size: tuple[int, int], count: int, generator: torch.Generator) -> Positions:
    """At most so many positions of a map of a size (H, W), each once, in no order.

    >>> rows, columns = positions((2, 2), 9, torch.Generator())
    >>> sorted(zip(rows.tolist(), columns.tolist()))
    [(0, 0), (0, 1), (1, 0), (1, 1)]
    """
    chosen = torch.randperm(size[0] * size[1], generator=generator)[:count]
    return chosen // size[1], chosen % size[1]


def rows_of(maps: list[Tensor], count: int, generator: torch.Generator) -> list[Tensor]:
    """At most so many rows of each image, the same ones of all maps (N, ..., C).

    >>> [
    ...     each.shape
    ...     for each in rows_of(
    ...         [torch.zeros(2, 5, 5, 8), torch.zeros(2, 5, 5, 3)], 9, torch.Generator()
    ...     )
    ... ]
    [torch.Size([18, 8]), torch.Size([18, 3])]
    """
    if maps[0].ndim == 1:
        return [each.unsqueeze(0) for each in maps]
    flat = [each.reshape(len(each), math.prod(each.shape[1:-1]), each.shape[-1]) for each in maps]
    chosen = torch.randperm(flat[0].shape[1], generator=generator)[:count].to(flat[0].device)
    return [each[:, chosen].flatten(0, 1) for each in flat]


def patches(layer: nn.Conv2d, x: Tensor, where: Positions) -> Tensor:
    """A convolution's inputs for the outputs at some positions.

    Args:
        layer: the convolution.
        x: its input, (N, C, H, W).
        where: positions of its output.

    Returns:
        (groups, rows, weights of an output), a row an image and position.

    >>> layer = nn.Conv2d(1, 1, 2, bias=False)
    >>> patches(layer, torch.arange(9.0).view(1, 1, 3, 3), (torch.tensor([1]), torch.tensor([0])))
    tensor([[[3., 4., 6., 7.]]])
    """
    padded = _padded(layer, x)
    rows, columns = where
    (taps_y, taps_x), (stride_y, stride_x), _, (spread_y, spread_x) = size_arguments(layer)
    reads_y = (rows * stride_y).unsqueeze(1) + spread_y * torch.arange(taps_y)
    reads_x = (columns * stride_x).unsqueeze(1) + spread_x * torch.arange(taps_x)
    read = padded[:, :, reads_y.to(x.device)[:, :, None], reads_x.to(x.device)[:, None, :]]
    images, channels, count = read.shape[:3]
    grouped = read.reshape(images, layer.groups, channels // layer.groups, count, taps_y * taps_x)
    return grouped.permute(1, 0, 3, 2, 4).reshape(layer.groups, images * count, -1)


def targets(x: Tensor, where: Positions, step: int, *, blurred: bool) -> Tensor:
    """The outputs at some positions of every `step`-th row and column, themselves or blurred.

    The blur is [1 2 1] / 4 along each axis: a sample also stands for its interpolated neighbours.

    Args:
        x: the original's map, (N, C, H, W).
        where: positions of its every `step`-th row and column.
        step: 2 at a site, else 1.
        blurred: whether each is the mean of itself and its neighbours.

    Returns:
        (rows, C), a row an image and position.
    """
    rows, columns = (axis.to(x.device) * step for axis in where)
    if not blurred:
        return x[:, :, rows, columns].permute(0, 2, 1).flatten(0, 1)
    height, width = x.shape[-2:]
    steps, shares = torch.tensor([-1, 0, 1], device=x.device), x.new_tensor([0.25, 0.5, 0.25])
    near_y = (rows.unsqueeze(1) + steps).clamp(0, height - 1)
    near_x = (columns.unsqueeze(1) + steps).clamp(0, width - 1)
    read = x[:, :, near_y[:, :, None], near_x[:, None, :]]
    return torch.einsum("ncpyx,y,x->npc", read, shares, shares).flatten(0, 1)


def _padded(layer: nn.Conv2d, x: Tensor) -> Tensor:
    mode: Any = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return functional.pad(x, padding_sides(layer), mode=mode)
