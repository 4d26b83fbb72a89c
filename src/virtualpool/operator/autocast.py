"""Autocast: its effect on a tensor, and how to keep the tensor from it."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def without_autocast(tensor: Tensor) -> AbstractContextManager[object]:
    """Autocast switched off, on the device of a tensor."""
    kind = tensor.device.type
    return torch.autocast(kind, enabled=False) if _is_in_autocast(kind) else nullcontext()


def in_autocast_dtype(tensor: Tensor) -> Tensor:
    """A tensor as autocast, where it is switched on, would give it to a convolution."""
    if tensor.dtype is torch.float64 or not _is_in_autocast(tensor.device.type):
        return tensor
    return tensor.to(torch.get_autocast_dtype(tensor.device.type))


# Dynamo cannot ask that before PyTorch 2.12: the graph would break at each map.
_WITH_AUTOCAST = frozenset(filter(torch.amp.is_autocast_available, ("cpu", "cuda", "mps", "xpu")))


def _is_in_autocast(kind: str) -> bool:
    return kind in _WITH_AUTOCAST and torch.is_autocast_enabled(kind)
