"""The windows of a pooling of an interpolated map, along one axis of its reduced map."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from virtualpool.operator.pool import Axes, window_size


def mean_of(one: Tensor, other: Tensor) -> Tensor:
    """The value half-way between two cells."""
    return torch.lerp(one, other, 0.5)


def _same(x: Tensor) -> Tensor:
    return x


@dataclass(frozen=True)
class Windows:
    """Windows along an axis of cells: each holds a cell, and the means with its neighbours.

    Attributes:
        step: the distance of two windows, in cells.
        before: 1 if the mean with the cell before is in a window, too, else 0.
    """

    step: int
    before: int

    def cells(self, x: Tensor, axis: int, offset: int, count: int) -> Tensor:
        """The cells at an offset from the cells of `count` windows; the first is at `before`."""
        along = x.narrow(axis, self.before + offset, (count - 1) * self.step + 1)
        if self.step == 1:
            return along
        return along[..., :: self.step] if axis == -1 else along[..., :: self.step, :]

    def largest(
        self, x: Tensor, axis: int, count: int, inner: Callable[[Tensor], Tensor] = _same
    ) -> Tensor:
        """The largest of `inner`, which works along other axes, over each window."""
        centre = self.cells(x, axis, 0, count)
        largest = inner(centre)
        if self.before and self.step == 1:
            # Each mean of two neighbours is in two windows.
            length = x.shape[axis] - 1
            means = mean_of(x.narrow(axis, 0, length), x.narrow(axis, 1, length))
            means = inner(means)
            candidates = [means.narrow(axis, offset, count) for offset in (0, 1)]
        else:
            offsets = (1, -1) if self.before else (1,)
            candidates = [
                inner(mean_of(centre, self.cells(x, axis, offset, count))) for offset in offsets
            ]
        for candidate in candidates:
            largest = torch.maximum(largest, candidate)
        return largest


def window_counts(size: Axes, kernel: int, stride: int) -> Axes:
    """The windows of max pooling along rows and columns, of which 3x3 have a padding of one."""
    padding = 2 * (kernel // 3)
    return window_size(size, (kernel, kernel), (stride, stride), (padding, padding))
