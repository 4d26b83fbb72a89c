"""The border of a reduced map: the values that a convolution on it must find there.

A convolution pads the full map with zeros. Beside the reduced map there are other cells, which make
the virtual positions outside of the full map come out as zero:

- before the first cell its negation, so that their mean, the virtual row -1, is zero;
- after the last cell a copy where H is even (the last row repeats it), its negation where H is odd.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from virtualpool.fuse.kernels.recording import may_write_in_place
from virtualpool.operator.edges import joined
from virtualpool.operator.exporting import is_captured, is_exporting_program
from virtualpool.operator.layout import layout
from virtualpool.operator.pool import Axes, repeated


def extended(
    reduced: Tensor, size: Axes, before: Axes, after: Axes, *, rectify: bool = False
) -> Tensor:
    """A reduced map with up to one more cell on each side.

    Args:
        reduced: (N, C, h, w).
        size: (H, W) of the full map.
        before: cells to add above and to the left, 0 or 1.
        after: cells to add below and to the right, at most 1; less than 0 is none.
        rectify: give the extension of `relu(reduced)`.

    >>> extended(torch.tensor([[[[1.0, 2.0]]]]), (2, 3), (1, 1), (1, 1))
    tensor([[[[ 1., -1., -2.,  2.],
              [-1.,  1.,  2., -2.],
              [-1.,  1.,  2., -2.]]]])
    """
    after = max(after[0], 0), max(after[1], 0)
    if may_write_in_place(reduced):
        return _extended(reduced, size, before, after, rectify)
    if is_captured() or before == after == (0, 0):
        reduced = functional.relu(reduced) if rectify else reduced
        if before == after == (0, 0):
            return reduced
        if is_exporting_program():
            return joined(reduced, (-before[0], -before[1]), _signs_after(size, after))
        copied = repeated(reduced, before, after)
        # A product is one pass with the copy; runtimes have it as one operation.
        return copied * _signs(copied, _negated(copied, size, before, after))
    given = reduced, size, before, after, rectify
    return _Extension.apply(*given)  # pyright: ignore[reportReturnType]


def inside(frame: Tensor, cells: Sequence[int], before: Axes) -> Tensor:
    """The part of an extended map that is the reduced map itself, which has so many cells."""
    return frame.narrow(-2, before[0], cells[0]).narrow(-1, before[1], cells[1])


class _Extension(torch.autograd.Function):
    """The extension as one operation, which keeps its result alone.

    Autograd would go back through each row and column, and keep ReLU's result beside this one.
    """

    @staticmethod
    def forward(reduced: Tensor, size: Axes, before: Axes, after: Axes, rectify: bool) -> Tensor:
        return _extended(reduced, size, before, after, rectify)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        reduced, *ctx.given, ctx.rectify = inputs
        ctx.cells = reduced.shape[-2:]
        if ctx.rectify:
            ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        size, before, after = ctx.given
        gradient = gradient.clone()
        for axis in (-2, -1):
            last, first = ctx.cells[axis] - 1 + before[axis], before[axis]
            if before[axis]:
                gradient.select(axis, first).sub_(gradient.select(axis, 0))
            if after[axis]:
                sign = -1 if size[axis] % 2 else 1
                gradient.select(axis, last).add_(gradient.select(axis, last + 1), alpha=sign)
        gradient = inside(gradient, ctx.cells, before)
        if ctx.rectify:
            (frame,) = ctx.saved_tensors
            rectified = inside(frame, ctx.cells, before)
            gradient = torch.ops.aten.threshold_backward(gradient, rectified, 0)
        return gradient, None, None, None, None


def _extended(
    reduced: Tensor, size: Axes, before: Axes, after: Axes, rectify: bool = False
) -> Tensor:
    """Written straight into the inside of a larger map, whose border is filled then."""
    if before == after == (0, 0) and not rectify:
        return reduced
    frame = _frame(reduced, before, after)
    cells = inside(frame, reduced.shape[-2:], before)
    if rectify:
        torch.clamp_min(reduced, 0, out=cells)
    else:
        cells.copy_(reduced)
    for axis in (-2, -1):
        if before[axis]:
            torch.neg(frame.select(axis, 1), out=frame.select(axis, 0))
        if after[axis]:
            last, beyond = frame.select(axis, -2), frame.select(axis, -1)
            torch.neg(last, out=beyond) if size[axis] % 2 else beyond.copy_(last)
    return frame


def _frame(reduced: Tensor, before: Axes, after: Axes) -> Tensor:
    """Memory for an extended map, in the layout of the reduced one."""
    rows, columns = (sum(each) for each in zip(before, reduced.shape[-2:], after, strict=True))
    shape = (*reduced.shape[:2], rows, columns)
    return torch.empty(
        shape, dtype=reduced.dtype, device=reduced.device, memory_format=layout(reduced)
    )


def _signs_after(size: Axes, after: Axes) -> Axes:
    """The factors of the last row and the last column; 0 where none is beside them."""
    rows, columns = (
        (-more if length % 2 else more) for length, more in zip(size, after, strict=True)
    )
    return rows, columns


def _negated(x: Tensor, size: Axes, before: Axes, after: Axes) -> list[list[int]]:
    """The places along rows and columns of an extended map at which copies are to be negated."""
    first = [[0] * count for count in before]
    last = [
        [length - 1] if more and full % 2 else []
        for length, more, full in zip(x.shape[-2:], after, size, strict=True)
    ]
    return [one + other for one, other in zip(first, last, strict=True)]


def _signs(x: Tensor, negated: list[list[int]]) -> Tensor:
    """One or minus one for each position (1, 1, H, W)."""
    rows, columns = (
        _signs_along(length, places, x)
        for length, places in zip(x.shape[-2:], negated, strict=True)
    )
    return rows.view(1, 1, -1, 1) * columns


def _signs_along(length: int, negated: list[int], x: Tensor) -> Tensor:
    if x.device.type == "cpu":
        signs = [-1.0 if place in negated else 1.0 for place in range(length)]
        return torch.tensor(signs, dtype=x.dtype)
    # Numbers from the CPU would keep compiled code from being a CUDA graph.
    places = torch.arange(length, device=x.device)
    signs = torch.ones_like(places, dtype=x.dtype)
    for place in negated:
        signs = torch.where(places == place, -1.0, signs)
    return signs
