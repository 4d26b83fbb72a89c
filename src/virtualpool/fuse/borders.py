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
    if torch.compiler.is_compiling() or (torch.is_grad_enabled() and reduced.requires_grad):
        return _padded_and_signed(reduced, size, before, after)
    return _written_into_frame(reduced, size, before, after)


def _padded_and_signed(reduced: Tensor, size: Axes, before: Axes, after: Axes) -> Tensor:
    # One pass over the map when it is compiled.
    sides = (before[1], after[1], before[0], after[0])
    full = functional.pad(reduced, sides, mode="replicate")
    for axis in (0, 1):
        full = full * _signs(full, size[axis], before[axis], after[axis], axis - 2)
    return full


def _signs(map: Tensor, length: int, before: int, after: int, axis: int) -> Tensor:
    count = map.shape[axis]
    negated = [0] * before + [count - 1] * (after if length % 2 else 0)
    position = torch.arange(count, device=map.device)
    signs = torch.ones(count, dtype=map.dtype, device=map.device)
    for index in negated:
        signs = torch.where(position == index, -signs, signs)
    return signs.view(-1, 1) if axis == -2 else signs


def _written_into_frame(reduced: Tensor, size: Axes, before: Axes, after: Axes) -> Tensor:
    frame, inside = framed(reduced, before, after)
    inside.copy_(reduced)
    fill_frame(frame, size, before, after)
    return frame


def framed(reduced: Tensor, before: Axes, after: Axes) -> tuple[Tensor, Tensor]:
    """An empty map with room for the border around `reduced`, and the view of its inside."""
    (top, left), (bottom, right) = before, after
    batch, channels, height, width = reduced.shape
    is_last = reduced.is_contiguous(memory_format=torch.channels_last)
    frame = torch.empty(
        (batch, channels, height + top + bottom, width + left + right),
        dtype=reduced.dtype,
        device=reduced.device,
        memory_format=torch.channels_last if is_last else torch.contiguous_format,
    )
    return frame, frame[..., top : top + height, left : left + width]


def fill_frame(frame: Tensor, size: Axes, before: Axes, after: Axes) -> None:
    """Fills the border of a map whose inside is there: columns first, then whole rows."""
    for axis in (-1, -2):
        inside = frame.shape[axis] - before[axis] - after[axis]
        if before[axis]:
            frame.select(axis, 0).copy_(frame.select(axis, 1)).neg_()
        if after[axis]:
            border = frame.select(axis, before[axis] + inside)
            border.copy_(frame.select(axis, before[axis] + inside - 1))
            if size[axis] % 2:
                border.neg_()
