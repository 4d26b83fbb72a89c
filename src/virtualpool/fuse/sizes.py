"""Sizes of maps, computed when the fused model runs: no map has to be there in full."""

from typing import Any

from torch import Tensor

from virtualpool.pool import Axes


def size_of(map: Tensor) -> Axes:
    """The size (H, W) of a map (..., H, W).

    >>> import torch
    >>> size_of(torch.zeros(1, 3, 5, 7))
    (5, 7)
    """
    return map.shape[-2], map.shape[-1]


def even_positions(map: Tensor) -> Tensor:
    """The values (N, C, ceil(H/2), ceil(W/2)) at the even rows and columns of a map.

    >>> import torch
    >>> even_positions(torch.arange(9.0).view(1, 1, 3, 3)).flatten()
    tensor([0., 2., 6., 8.])
    """
    return map[..., ::2, ::2]


def pair(value: Any) -> Axes | None:
    """A geometry as PyTorch's functions take it, one number or two; none for anything else.

    >>> pair(3), pair([3, 1]), pair("same")
    ((3, 3), (3, 1), None)
    """
    if isinstance(value, int):
        return value, value
    return tuple(value) if isinstance(value, tuple | list) and len(value) == 2 else None
