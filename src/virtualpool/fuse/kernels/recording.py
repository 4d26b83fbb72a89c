"""The others that look at a computation: autograd, or a compiler."""

import torch
from torch import Tensor

from virtualpool.operator.exporting import is_captured
from virtualpool.torch_private import is_exporting


def is_recorded(x: Tensor) -> bool:
    """Whether autograd records the use of a map; nobody goes back through an export."""
    return torch.is_grad_enabled() and x.requires_grad and not is_exporting()


def may_write_in_place(x: Tensor) -> bool:
    """Whether a map may be changed: compilers fuse plain operations, autograd keeps its inputs."""
    return not is_captured() and not is_recorded(x)
