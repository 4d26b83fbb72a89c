"""A convolution of an interpolated map by its phases: the form for ONNX Runtime.

Along an axis, the even positions of the full map are its cells and the odd ones are their means. A
kernel has taps for each of the two, so a convolution is a sum of four, one for each pair of an even
or odd row and an even or odd column. That takes as many multiplications as the folded kernel, and
no border: zeros lie beside the full map, as convolutions pad by themselves, and the
last row's copy is a mean of one. All of it has a form in the layout of ONNX Runtime's convolutions,
which a border makes a map leave.

The folded kernel is unfolded again: `(a, b, c)` at cells -1, 0, 1 is `2a` and `2c` at the odd
positions between them, and `b - a - c` at the cell itself.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from virtualpool.fuse.onnx.operations import after, convolution, means_after
from virtualpool.operator.pool import Axes


@dataclass(frozen=True)
class _Phase:
    """The inputs of a folded kernel for the even or the odd positions along an axis.

    Attributes:
        shares: of each tap, how much it takes of each cell of the folded kernel.
        before: how many places before the output's own the first tap reads.
        dilation: distance of two taps.
    """

    shares: list[list[float]]
    before: int
    dilation: int = 1

    @property
    def span(self) -> int:
        """How many places lie under the kernel."""
        return self.dilation * (len(self.shares) - 1) + 1


_Phases = tuple[_Phase, _Phase | None]
"""The even phase along an axis, and the odd one if it is read."""


def phases(cells: int, before: int) -> _Phases:
    """The even phase of a folded kernel along an axis, and the odd one if it reads any.

    Args:
        cells: the size of the folded kernel.
        before: how many cells before the output's own it reads, 0 or 1.

    >>> even, odd = phases(3, 1)
    >>> even.shares, odd.shares
    ([[-1.0, 1.0, -1.0]], [[2.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
    """
    own = [[float(place == cell) for place in range(cells)] for cell in range(cells)]
    # Beside the ends of a map there are odd positions alone, so there the outer taps must be such.
    is_outer = [before == 1, cells - before > 1]
    if not any(is_outer):
        return _Phase(own, before), None
    kept = own[is_outer[0] : cells - is_outer[1]]
    odd = []
    if is_outer[0]:
        kept[0][0] -= 1
        odd.append([2 * share for share in own[0]])
    if is_outer[1]:
        kept[-1][-1] -= 1
        odd.append([2 * share for share in own[-1]])
    first_odd = 1 if is_outer[0] else 1 - (cells - before - 1)
    return _Phase(kept, before - is_outer[0]), _Phase(odd, first_odd, len(kept))


def convolution_by_phases(
    reduced: Tensor,
    size: Axes,
    outputs: Axes,
    weight: Tensor,
    bias: Tensor | None,
    stride: Axes,
    before: Axes,
    groups: int,
) -> Tensor | None:
    """A convolution of an interpolated map, or none where no padding gives its number of outputs.

    It takes the arguments of `reduced.convolution_of_frame`, but for the reduced map as its frame;
    the folded kernel is one that is exact on an extended map.
    """
    along = [phases(cells, first) for cells, first in zip(weight.shape[2:], before, strict=True)]
    if not all(map(_fit, along, size, outputs, stride)):
        return None
    result = None
    # Odd rows and columns first: the last of the four is the one that an activation joins.
    for row, cells in reversed(_positions(along[0], reduced, size, -2)):
        for column, positions in reversed(_positions(along[1], cells, size, -1)):
            dilation, places = (row.dilation, column.dilation), (row.before, column.before)
            taps, its_bias = _taps(weight, row, column), bias if result is None else None
            one = convolution(positions, taps, its_bias, outputs, stride, dilation, places, groups)
            result = one if result is None else result + one
    return result


def _positions(along: _Phases, x: Tensor, size: Axes, axis: int) -> list[tuple[_Phase, Tensor]]:
    """The phases along an axis, and the positions that each reads."""
    even, odd = along
    return [(even, x)] if odd is None else [(even, x), (odd, means_after(x, size, axis))]


def _fit(along: _Phases, length: int, outputs: int, stride: int) -> bool:
    """Whether each phase can be padded so that it gives so many outputs along an axis."""
    even, odd = along
    return _fits(even, (length + 1) // 2, outputs, stride) and (
        odd is None or _fits(odd, length // 2, outputs, stride)
    )


def _fits(phase: _Phase, length: int, outputs: int, stride: int) -> bool:
    has_padding = after(length, outputs, phase.span, stride, phase.before) is not None
    return length > 0 and phase.before >= 0 and has_padding


def _taps(weight: Tensor, row: _Phase, column: _Phase) -> Tensor:
    """The part of a folded kernel that reads a pair of phases."""
    shares = torch.kron(weight.new_tensor(row.shares), weight.new_tensor(column.shares))
    return (weight.flatten(2) @ shares.T).unflatten(2, (len(row.shares), len(column.shares)))
