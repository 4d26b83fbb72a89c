"""A kernel for a full map, folded into one for the reduced map that it was interpolated from.

Along one axis, tap `k` of a kernel reads the virtual position `t = k * dilation - padding` relative
to the output's own. An even position is a cell of the reduced map; an odd one is the mean of two
(paper, equation 5), each of which gets half the tap's weight:

    (a, b, c) at -1, 0, 1   becomes   (a/2, a/2 + b + c/2, c/2) at cells -1, 0, 1
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from virtualpool.operator.autocast import without_autocast

Weights = Callable[["Axis", torch.device], Tensor]
"""How much of each tap goes to each cell along an axis: (taps, cells)."""


@dataclass(frozen=True)
class Axis:
    """A convolution along one axis of the full map, with any even stride.

    Attributes:
        taps: kernel size.
        padding: zero padding on each side.
        dilation: distance of two taps.
    """

    taps: int
    padding: int
    dilation: int

    @property
    def positions(self) -> list[int]:
        """The virtual positions that are read, relative to the output's own."""
        return [tap * self.dilation - self.padding for tap in range(self.taps)]

    @property
    def skips_odd(self) -> bool:
        """Whether only even positions are read, so that nothing is interpolated."""
        return all(position % 2 == 0 for position in self.positions)

    @property
    def before(self) -> int:
        """How many cells before the output's own are read."""
        return -(self.positions[0] // 2)

    @property
    def cells(self) -> int:
        """The size of the folded kernel."""
        return self.before + (self.positions[-1] + 1) // 2 + 1

    @property
    def reach_before(self) -> int:
        """How many outputs before its own position a cell reaches, with a stride of one."""
        return self.positions[-1] + 1

    @property
    def keeps_between_zeros(self) -> bool:
        """Whether the folded kernel makes as many outputs with as many zeros on both sides.

        It does for kernels of an odd size; of an even one it depends on the length.
        """
        return (self.padding - self.positions[-1]) % 2 == 0

    @property
    def is_exact_when_extended(self) -> bool:
        """Whether one more cell per side makes every position that is read right.

        It does if the positions lie in [-1, H - 1] for an even H, in [-1, H] for an odd one. With
        a padding of one nothing beyond H is read, and an even H by the last tap alone.
        """
        return self.padding == 0 or (self.padding == 1 and self.positions[-1] % 2 == 1)


def axes(
    kernel: Sequence[int], padding: tuple[int, int], dilation: tuple[int, int]
) -> tuple[Axis, Axis]:
    """The rows and the columns of a convolution of the full map."""
    rows, columns = map(Axis, kernel, padding, dilation)
    return rows, columns


def fold(kernel: Tensor, padding: tuple[int, int], dilation: tuple[int, int]) -> Tensor:
    """Folds the kernel of a convolution with an even stride; differentiable.

    Args:
        kernel: (out, in, rows, columns), for the full map.
        padding: zero padding on each side, per axis.
        dilation: distance of two taps, per axis.

    Returns:
        The kernel (out, in, cells, cells) for the reduced map, with a dilation of one.

    >>> import torch
    >>> kernel = torch.tensor([4.0, 10.0, 6.0]).view(1, 1, 1, 3)
    >>> fold(kernel, (0, 1), (1, 1)).flatten()
    tensor([ 2., 15.,  3.])
    """
    rows, columns = axes(kernel.shape[-2:], padding, dilation)
    return handed_out(kernel, rows, columns, _shares)


def spread(
    kernel: Tensor, padding: tuple[int, int], dilation: tuple[int, int], groups: int
) -> Tensor:
    """The kernel of a transposed convolution that gives a convolution of stride one in full.

    It takes the reduced map with a stride of two. A cell reaches every output that reads it, or a
    virtual position that is half of it: 25 multiplications per cell for 3x3, where the full map
    takes 36.

    Args:
        kernel: (out, in / groups, rows, columns), for the full map.
        padding: zero padding on each side, per axis.
        dilation: distance of two taps, per axis.
        groups: as for `torch.conv2d`.

    Returns:
        The kernel (in, out / groups, reach, reach), as `torch.conv_transpose2d` takes it.

    >>> import torch
    >>> kernel = torch.tensor([4.0, 10.0, 6.0]).view(1, 1, 1, 3)
    >>> spread(kernel, (0, 1), (1, 1), 1)[0, 0, 1]
    tensor([ 3., 11., 15.,  9.,  2.])
    """
    rows, columns = axes(kernel.shape[-2:], padding, dilation)
    spread = handed_out(kernel, rows, columns, _reaches)
    spread = spread.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    # Convolutions want the layout of the kernel as it was.
    is_last = kernel.is_contiguous(memory_format=torch.channels_last)
    return spread.contiguous(
        memory_format=torch.channels_last if is_last else torch.contiguous_format
    )


def handed_out(kernel: Tensor, rows: Axis, columns: Axis, weights: Weights) -> Tensor:
    """A kernel with its taps handed out to cells, along both axes at once; differentiable.

    Args:
        kernel: (out, in, rows, columns).
        rows: the taps along the rows.
        columns: the taps along the columns.
        weights: how much of each tap goes to each cell.
    """
    # The sum of halves is rounded once, at the end.
    wide = kernel.float() if kernel.dtype.itemsize < 4 else kernel
    is_real = type(kernel) in (Tensor, nn.Parameter) and not torch.compiler.is_compiling()
    product = _product_once if is_real else _product
    shares, cells = product(rows, columns, weights, wide.device)
    shares = shares.to(wide.dtype)
    with without_autocast(kernel):
        # Convolutions want the layout of the kernel as it was: taps first, or channels last.
        if kernel.is_contiguous(memory_format=torch.channels_last):
            taps = wide.permute(0, 2, 3, 1).flatten(1, 2)
            folded = (shares.T @ taps).unflatten(1, cells).permute(0, 3, 1, 2)
        else:
            folded = (wide.flatten(2) @ shares).unflatten(2, cells)
    return folded.to(kernel.dtype)


def _product(
    rows: Axis, columns: Axis, weights: Weights, device: torch.device
) -> tuple[Tensor, tuple[int, int]]:
    """The weights of taps in cells along both axes, and the number of cells along each."""
    along = weights(rows, device), weights(columns, device)
    return torch.kron(*along), (along[0].shape[1], along[1].shape[1])


@functools.cache
def _product_once(
    rows: Axis, columns: Axis, weights: Weights, device: torch.device
) -> tuple[Tensor, tuple[int, int]]:
    # A copy to a GPU makes the CPU wait, and cannot be captured: once, not in every step.
    with torch.inference_mode(False):
        product, cells = _product(rows, columns, weights, torch.device("cpu"))
        return product.to(device), cells


def _shares(axis: Axis, device: torch.device) -> Tensor:
    shares = torch.zeros(axis.taps, axis.cells, device=device)
    for tap, position in enumerate(axis.positions):
        shares[tap, position // 2 + axis.before] += 0.5
        shares[tap, (position + 1) // 2 + axis.before] += 0.5
    return shares


def _reaches(axis: Axis, device: torch.device) -> Tensor:
    reaches = torch.zeros(axis.taps, axis.dilation * (axis.taps - 1) + 3, device=device)
    for tap, position in enumerate(axis.positions):
        centre = axis.reach_before - position
        reaches[tap, centre - 1 : centre + 2] = 0.5
        reaches[tap, centre] = 1.0
    return reaches
