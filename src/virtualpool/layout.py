"""How a map lies in memory."""

import torch
from torch import Tensor


def layout(map: Tensor) -> torch.memory_format:
    """Channels last where the channels of a position lie side by side, else contiguous.

    `Tensor.dim_order` knows more, and takes as long as ten small operations.

    >>> layout(torch.zeros(1, 2, 3, 3).contiguous(memory_format=torch.channels_last))
    torch.channels_last
    """
    is_last = map.stride(1) < map.stride(3)
    return torch.channels_last if is_last else torch.contiguous_format
