"""Ways to compute a convolution, some of them with equal results at another cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from virtualpool.fuse.choice.costs import costs
from virtualpool.fuse.kernels import reduced
from virtualpool.fuse.kernels.folding import axes, fold, spread
from virtualpool.operator.pool import Axes, virtual_pool, window_size


class Way(Enum):
    """The input of a convolution."""

    CELLS = "even positions alone, where nothing is interpolated"
    ENLARGED = "the map before an enlargement, with a folded kernel"
    EXTENDED = "the reduced map with more cells around it, with a folded kernel"
    MENDED = "the reduced map, with a folded kernel and a border that is mended then"
    PADDED = "the reduced map with zeros around it, with a folded kernel"
    TRANSPOSED = "the reduced map, by a transposed convolution that makes the full result"
    FULL = "the full map"


def taken(milliseconds: dict[Way, float]) -> Way:
    """The best way: among the ways within a tenth of the fastest, the one of least memory.

    Args:
        milliseconds: of each way, in the order in which they need less memory.

    >>> (
    ...     taken({Way.EXTENDED: 2.8, Way.MENDED: 3.0}).name,
    ...     taken({Way.EXTENDED: 2, Way.MENDED: 3}).name,
    ... )
    ('MENDED', 'EXTENDED')
    """
    enough = 1.1 * min(milliseconds.values())
    return [way for way, time in milliseconds.items() if time <= enough][-1]


@dataclass(frozen=True)
class Trial:
    """A convolution of a random interpolated map, to time the ways that there are.

    Attributes:
        map: the reduced map (N, C, h, w).
        size: (H, W) of the full map.
        weight: the kernel for the full map.
        stride: on the full map, as are padding and dilation.
        padding: zero padding on each side.
        dilation: distance of two taps.
        groups: as for `torch.conv2d`.
    """

    map: Tensor
    size: Axes
    weight: Tensor
    stride: Axes
    padding: Axes
    dilation: Axes
    groups: int

    @classmethod
    def like(
        cls, model: nn.Module, shape: Sequence[int], kernel: Sequence[int], *geometry: Any
    ) -> "Trial":
        """A trial with the dtype, device and layout of a model's kernels.

        Args:
            model: has kernels.
            shape: of the full map.
            kernel: the shape of the kernel.
            geometry: stride, padding, dilation and groups.
        """
        kernels = (each for each in model.parameters() if each.dim() == 4)
        own = next(kernels, torch.empty(1, 1, 1, 1))
        is_last = not own.is_contiguous() or own.device.type == "cuda"
        layout = torch.channels_last if is_last else torch.contiguous_format
        cells = (shape[2] + 1) // 2, (shape[3] + 1) // 2
        map, weight = (
            torch.rand(*each, dtype=own.dtype, device=own.device).contiguous(memory_format=layout)
            for each in ((*shape[:2], *cells), kernel)
        )
        return cls(map, (shape[2], shape[3]), weight, *geometry)

    def milliseconds(self, ways: Sequence[Way]) -> dict[Way, float]:
        """The time of each way on this machine."""
        runs = self.runs()
        named = {way.name.lower(): runs[way] for way in ways}
        times = costs(str(self), named, self.map.device)
        return {way: times[way.name.lower()] for way in ways}

    def __str__(self) -> str:
        is_last = self.map.is_contiguous(memory_format=torch.channels_last)
        return (
            f"convolution of {'x'.join(map(str, self.map.shape))} for {self.size}, kernel "
            f"{'x'.join(map(str, self.weight.shape))}, stride {self.stride}, padding "
            f"{self.padding}, dilation {self.dilation}, groups {self.groups}, "
            f"{self.map.dtype}, {'channels last' if is_last else 'contiguous'}"
        )

    def runs(self) -> dict[Way, Callable[[], Tensor]]:
        """Functions of nothing that convolve the map, each in its way."""
        rows, columns = axes(self.weight.shape[-2:], self.padding, self.dilation)
        half, before = (self.stride[0] // 2, self.stride[1] // 2), (rows.before, columns.before)
        folded = fold(self.weight, self.padding, self.dilation)
        spreaded = spread(self.weight, self.padding, self.dilation, self.groups)
        spaces, groups = (self.padding, self.dilation), self.groups
        return {
            Way.EXTENDED: partial(
                reduced.convolution,
                self.map, self.size, self._outputs, folded, None, half, before, groups,
            ),
            Way.MENDED: partial(
                reduced.mended_convolution,
                self.map, self.size, self._outputs, (folded, self.weight), None, half, *spaces,
                groups,
            ),
            Way.TRANSPOSED: partial(
                reduced.transposed_convolution,
                self.map, self.size, (spreaded, self.weight), None, *spaces, groups,
            ),
            Way.FULL: self._in_full,
        }  # fmt: skip

    @property
    def _outputs(self) -> Axes:
        padding = 2 * self.padding[0], 2 * self.padding[1]
        kernel = self.weight.shape[2], self.weight.shape[3]
        return window_size(self.size, kernel, self.stride, padding, self.dilation)

    def _in_full(self) -> Tensor:
        full = virtual_pool(self.map, self.size)
        geometry = self.stride, self.padding, self.dilation, self.groups
        return torch.conv2d(full, self.weight, None, *geometry)
