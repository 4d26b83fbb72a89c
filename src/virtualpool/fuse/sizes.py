"""Sizes of maps, computed when the fused model runs: no map has to be there in full."""

from torch import Tensor

Axes = tuple[int, int]


def size_of(map: Tensor) -> Axes:
    """The size (H, W) of a map (..., H, W).

    >>> import torch
    >>> size_of(torch.zeros(1, 3, 5, 7))
    (5, 7)
    """
    return map.shape[-2], map.shape[-1]


def window_size(
    size: Axes, kernel: Axes, stride: Axes, padding: Axes, dilation: Axes = (1, 1)
) -> Axes:
    """The size that a convolution or a pooling makes of a map of `size`.

    Args:
        size: (H, W) of the map.
        kernel: kernel size per axis.
        stride: stride per axis.
        padding: the sum of the padding on both sides, per axis.
        dilation: dilation per axis.

    >>> window_size((224, 225), (3, 3), (2, 2), (2, 2))
    (112, 113)
    """
    height, width = (
        (length + pad - spread * (taps - 1) - 1) // step + 1
        for length, taps, step, pad, spread in zip(
            size, kernel, stride, padding, dilation, strict=True
        )
    )
    return height, width


def even_size(size: Axes) -> Axes:
    """How many even positions a map of `size` has, per axis.

    >>> even_size((5, 8))
    (3, 4)
    """
    return (size[0] + 1) // 2, (size[1] + 1) // 2


def even_positions(map: Tensor) -> Tensor:
    """The values (N, C, ceil(H/2), ceil(W/2)) at the even rows and columns of a map.

    >>> import torch
    >>> even_positions(torch.arange(9.0).view(1, 1, 3, 3)).flatten()
    tensor([0., 2., 6., 8.])
    """
    return map[..., ::2, ::2]
