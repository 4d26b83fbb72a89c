"""Transposed convolutions with a stride of two at their even positions.

Along one axis, tap `k` of a kernel writes what it makes of `y[i]` to `2i - padding + k`. An even
position `2m` is written to by every second tap, from `i = m + (padding - k) / 2`. So the even
positions are a convolution of `y` with a stride of one, and with a quarter of the taps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from virtualpool.operator.pool import Axes, virtual_pool


@dataclass(frozen=True)
class EvenTaps:
    """The taps along one axis that write to even positions.

    Attributes:
        taps: kernel size.
        padding: how many positions are cut off on each side.
    """

    taps: int
    padding: int

    @property
    def first(self) -> int:
        """The first tap; every second one from it on is one of them."""
        return self.padding % 2

    @property
    def before(self) -> int:
        """How far before its own the last of them reads a value; less than 0 is after."""
        last = self.taps - 1 - (self.taps - 1 - self.first) % 2
        return (last - self.padding) // 2

    @property
    def after(self) -> int:
        """How far after its own the first of them reads a value; less than 0 is before."""
        return (self.padding - self.first) // 2


def even_taps(weight: Tensor, padding: Axes, groups: int) -> Tensor:
    """The kernel of the convolution that gives a transposed one's even positions.

    Args:
        weight: (in, out / groups, rows, columns), as `torch.conv_transpose2d` takes it.
        padding: of the transposed convolution.
        groups: of both.

    Returns:
        (out, in / groups, rows, columns), as `torch.conv2d` takes it.

    >>> even_taps(torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 1, 1, 4), (0, 1), 1).flatten()
    tensor([4., 2.])
    """
    taps = weight[..., padding[0] % 2 :: 2, padding[1] % 2 :: 2].flip(-2, -1)
    return taps.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)


def transposed_size(
    size: Axes, kernel: Sequence[int], padding: Axes, output_padding: Axes, step: int = 1
) -> Axes:
    """The size that a transposed convolution with a stride of two makes of a map of a size.

    Args:
        size: (H, W) of the map.
        kernel: rows and columns of it.
        padding: how many rows and columns are cut off on each side.
        output_padding: how many are added below and at the right.
        step: 2 counts the even positions alone.

    >>> (
    ...     transposed_size((5, 6), (3, 3), (1, 1), (0, 1)),
    ...     transposed_size((5, 6), (2, 2), (0, 0), (0, 0), 2),
    ... )
    ((9, 12), (5, 6))
    """
    height, width = (
        -(-((length - 1) * 2 - 2 * cut + taps + more) // step)
        for length, taps, cut, more in zip(size, kernel, padding, output_padding, strict=True)
    )
    return height, width


def transposed_cells(
    x: Tensor,
    size: Axes,
    outputs: Axes,
    weight: Tensor,
    bias: Tensor | None,
    kernel: Axes,
    padding: Axes,
    groups: int,
    *,
    is_reduced: bool,
) -> Tensor:
    """A transposed convolution with a stride of two at its even positions.

    Args:
        x: the map (N, C, H, W) that it reads, or its reduced map.
        size: (H, W) of the map.
        outputs: how many rows and columns the result has.
        weight: the result of `even_taps`.
        bias: (out,), or none.
        kernel: rows and columns of the transposed convolution's kernel.
        padding: of the transposed convolution.
        groups: of the transposed convolution.
        is_reduced: whether `x` is a reduced map.

    >>> x, weight = torch.tensor([[[[1.0, 3.0]]]]), torch.ones(1, 1, 1, 2)
    >>> transposed_cells(x, (1, 2), (1, 2), weight, None, (2, 4), (0, 1), 1, is_reduced=False)
    tensor([[[[1., 4.]]]])
    """
    sides = [
        (axis.before, count - 1 + axis.after - (length - 1))
        for axis, count, length in zip(map(EvenTaps, kernel, padding), outputs, size, strict=True)
    ]
    rows, columns = sides
    if weight.shape[2:] == (1, 1) and rows == columns == (0, 0):
        # Each position by itself: a mean gives the mean of both results.
        made = torch.conv2d(x, weight, bias, groups=groups)
        return virtual_pool(made, size) if is_reduced else made
    full = virtual_pool(x, size) if is_reduced else x
    if rows != (0, 0) or columns != (0, 0):
        full = functional.pad(full, (*columns, *rows))
    return torch.conv2d(full, weight, bias, groups=groups)


def shuffled_cells(x: Tensor, size: Axes, *, is_reduced: bool) -> Tensor:
    """A pixel shuffle by two at its even positions: every fourth channel.

    Args:
        x: the map (N, 4 C, H, W) that is shuffled, or its reduced map.
        size: (H, W) of the map.
        is_reduced: whether `x` is a reduced map.

    >>> shuffled_cells(torch.arange(8.0).view(1, 8, 1, 1), (1, 1), is_reduced=False).flatten()
    tensor([0., 4.])
    """
    # A fourth of the channels are interpolated.
    channels = x[:, ::4]
    return virtual_pool(channels, size) if is_reduced else channels
