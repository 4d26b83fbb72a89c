"""How a map lies in memory."""

import torch
from torch import Tensor

from virtualpool.errors import VirtualPoolError


def layout(x: Tensor) -> torch.memory_format:
    """Channels last where the channels of a position lie side by side, else contiguous.

    Raises:
        VirtualPoolError: it has no batch axis, or is no map.

    `Tensor.dim_order` knows more, and takes as long as ten small operations.

    >>> layout(torch.zeros(1, 2, 3, 3).contiguous(memory_format=torch.channels_last))
    torch.channels_last
    """
    if x.ndim != 4:
        raise VirtualPoolError(
            f"A map of shape (N, C, H, W) is expected, not {tuple(x.shape)}; give images with a "
            "batch axis: images.unsqueeze(0)."
        )
    is_last = x.stride(1) < x.stride(3)
    return torch.channels_last if is_last else torch.contiguous_format
