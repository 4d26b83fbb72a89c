"""The border of a reduced map: what a convolution on it must find there.

A convolution pads the full map with zeros. Beside the reduced map there are other cells, which make
the virtual positions outside of the full map come out as zero:

- before the first cell its negation, so that their mean, the virtual row -1, is zero;
- after the last cell a copy where H is even (the last row repeats it), its negation where H is odd.
"""

import torch
from torch import Tensor
from torch.nn import functional

from virtualpool.fuse.sizes import Axes


def extended(reduced: Tensor, size: Axes, before: Axes, after: Axes) -> Tensor:
    """A reduced map with up to one more cell on each side.

    Args:
        reduced: (N, C, h, w).
        size: (H, W) of the full map.
        before: cells to add above and to the left, 0 or 1.
        after: cells to add below and to the right, at most 1; less than 0 is none.

    >>> extended(torch.tensor([[[[1.0, 2.0]]]]), (2, 3), (1, 1), (1, 1))
    tensor([[[[ 1., -1., -2.,  2.],
              [-1.,  1.,  2., -2.],
              [-1.,  1.,  2., -2.]]]])
    """
    after = max(after[0], 0), max(after[1], 0)
    if before == after == (0, 0):
        return reduced
    copied = functional.pad(reduced, (before[1], after[1], before[0], after[0]), mode="replicate")
    for axis in (-2, -1):
        negated = [0] * before[axis] + [-1] * (after[axis] * (size[axis] % 2))
        copied = _negated(copied, axis, negated)
    return copied


def _negated(map: Tensor, axis: int, places: list[int]) -> Tensor:
    """Negates the map, which may be changed, at places along an axis."""
    if not torch.compiler.is_compiling():
        for place in places:
            map.select(axis, place).neg_()
        return map
    # A product can be computed in one pass with the copy, and exported as one operation.
    length = map.shape[axis]
    position = torch.arange(length, device=map.device)
    signs = torch.ones(length, dtype=map.dtype, device=map.device)
    for place in places:
        signs = torch.where(position == place % length, -signs, signs)
    return map * (signs if axis == -1 else signs.unsqueeze(-1))
