"""The border of a reduced map: what a convolution on it must find there.

A convolution pads the full map with zeros. Beside the reduced map there are other cells, which make
the virtual positions outside of the full map come out as zero:

- before the first cell its negation, so that their mean, the virtual row -1, is zero;
- after the last cell a copy where H is even (the last row repeats it), its negation where H is odd.
"""

import torch
from torch import Tensor
from torch.nn import functional

from virtualpool.pool import Axes


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
    negated = [_negated(axis, copied, size, before, after) for axis in (-2, -1)]
    if torch.compiler.is_compiling():
        # A product is one pass with the copy; runtimes have it as one operation.
        return copied * _signs(copied, negated)
    for axis, places in zip((-2, -1), negated, strict=True):
        for place in places:
            copied.select(axis, place).neg_()
    return copied


def _negated(axis: int, map: Tensor, size: Axes, before: Axes, after: Axes) -> list[int]:
    """The places along an axis of an extended map at which copies are to be negated."""
    last = [map.shape[axis] - 1] if after[axis] and size[axis] % 2 else []
    return [0] * before[axis] + last


def _signs(map: Tensor, negated: list[list[int]]) -> Tensor:
    """One or minus one for each position (1, 1, H, W)."""
    rows, columns = (
        torch.tensor(
            [-1.0 if place in places else 1.0 for place in range(length)],
            dtype=map.dtype,
            device=map.device,
        )
        for length, places in zip(map.shape[-2:], negated, strict=True)
    )
    return rows.view(1, 1, -1, 1) * columns
