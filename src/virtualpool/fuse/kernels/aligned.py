"""Bilinear enlargement with aligned corners, of a reduced map and at even positions.

The corners of a map of an odd size are cells, and between them it is a line from cell to cell. So
to enlarge the map is to enlarge its reduced map, to the same size. The even positions of a
result of an odd size begin and end at its corners, so they are the enlargement to as many.
"""

from torch import Tensor
from torch.nn import functional

from virtualpool.operator.pool import Axes, virtual_pool


def aligned(x: Tensor, size: Axes, target: Axes, *, even: bool, is_reduced: bool) -> Tensor:
    """A map at another size by bilinear interpolation with aligned corners.

    Args:
        x: the map (N, C, H, W), or its reduced map.
        size: (H, W) of the map.
        target: the size of the result.
        even: whether only the result's even positions are wanted.
        is_reduced: whether `x` is a reduced map. Of an even size it is recovered first.

    >>> import torch
    >>> x = torch.arange(5.0).view(1, 1, 1, 5)
    >>> aligned(x[..., ::2], (1, 5), (1, 9), even=False, is_reduced=True).flatten()
    tensor([0.0000, 0.5000, 1.0000, 1.5000, 2.0000, 2.5000, 3.0000, 3.5000, 4.0000])
    >>> aligned(x, (1, 5), (1, 9), even=True, is_reduced=False).flatten()
    tensor([0., 1., 2., 3., 4.])
    """
    if is_reduced and not are_odd(size):
        x = virtual_pool(x, size)
    is_short = even and are_odd(target)
    wanted = ((target[0] + 1) // 2, (target[1] + 1) // 2) if is_short else target
    result = functional.interpolate(x, size=wanted, mode="bilinear", align_corners=True)
    return result[..., ::2, ::2] if even and not is_short else result


def are_odd(size: Axes) -> bool:
    """Whether both lengths are odd.

    >>> are_odd((3, 5)), are_odd((3, 4))
    (True, False)
    """
    return size[0] % 2 == size[1] % 2 == 1


def scaled_size(size: Axes, factors: tuple[float, float]) -> Axes:
    """So many times a size, rounded down, as `functional.interpolate` does.

    >>> scaled_size((3, 5), (1.5, 2))
    (4, 10)
    """
    return int(size[0] * factors[0]), int(size[1] * factors[1])
