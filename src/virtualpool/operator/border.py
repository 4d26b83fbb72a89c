"""What a convolution with padded borders reads: a recovered map that fades out beyond its cells."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import handle_torch_function, has_torch_function_unary

from virtualpool.operator.autocast import without_autocast
from virtualpool.operator.pool import Axes

Runs = tuple[tuple[int, int], ...]
"""Some channels of a map, in runs: the first of each, and the one after its last."""


def padded_border(x: Tensor, padding: Axes, channels: Runs = ()) -> Tensor:
    """A recovered map as if zeros were beside its *reduced* map, with so much padding around.

    Exact borders have zeros beside the full map. Here they are beside the cells, at its even
    positions, and what lies between is interpolated as everywhere: the position before the first
    cell is half of it, the one after the last cell half of that, in an even size too, and all
    beyond is zero. A convolution reads this without padding; folded, it reads the reduced map with
    zeros around it.

    Args:
        x: shape (N, C, H, W), any floating-point dtype: the virtual pool of its even positions.
        padding: how many rows and columns to add on each side.
        channels: which of them are such a virtual pool, where not all are; the others, such as an
            enlarged map beside it, have zeros around.

    Returns:
        A map (N, C, H + 2 rows, W + 2 columns), in the dtype and on the device of `x`.

    >>> cells = torch.tensor([[[[2.0, 3.0, 4.0, 4.0]]]])  # 2 and 4, interpolated
    >>> padded_border(cells, (0, 2))
    tensor([[[[0., 1., 2., 3., 4., 2., 0., 0.]]]])
    """
    if has_torch_function_unary(x):
        given: Any = (x, padding, channels) if channels else (x, padding)
        return handle_torch_function(padded_border, (x,), *given)
    if channels:
        return _of_some(x, padding, channels)
    rows, columns = (
        _shares(length, more, x) for length, more in zip(x.shape[-2:], padding, strict=True)
    )
    above, left = padding
    # Autocast makes this operation one of float32.
    with without_autocast(x):
        copied = functional.pad(x, (left, left, above, above), mode="replicate")
        return copied * (rows.unsqueeze(-1) * columns)


def _of_some(x: Tensor, padding: Axes, channels: Runs) -> Tensor:
    """Each run of channels with its border, and the ones between with zeros around."""
    parts, first, (above, left) = [], 0, padding
    for begin, end in (*channels, (x.shape[1], x.shape[1])):
        if begin > first:
            parts.append(functional.pad(x[:, first:begin], (left, left, above, above)))
        if end > begin:
            parts.append(padded_border(x[:, begin:end], padding))
        first = end
    return torch.cat(parts, 1)


def padded_size(size: Axes, padding: Axes) -> Axes:
    """The size (H, W) of the result of `padded_border` for a map of a size.

    >>> padded_size((4, 7), (0, 2))
    (4, 11)
    """
    return size[0] + 2 * padding[0], size[1] + 2 * padding[1]


def _shares(length: int, padding: int, x: Tensor) -> Tensor:
    """How much is left of the outermost value at each position, from -padding on."""
    # Computed, not branched on: the length is open in some programs.
    places = torch.arange(-padding, length + padding, device=x.device)
    last_cell = length - 1 - (length - 1) % 2
    beyond = torch.maximum(-places, places - last_cell).clamp(0, 2)
    return (1 - 0.5 * beyond).to(x.dtype)
