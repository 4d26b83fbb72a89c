"""Inputs and outputs of other runtimes, which take and give arrays of NumPy."""

from typing import Any

import torch
from torch import Tensor

from virtualpool.graph.inputs import tensors
from virtualpool.torch_private import pytree


def arrays_of(inputs: Any) -> list[Any]:
    """The tensors of inputs as arrays, in order, whatever their layout in memory was.

    >>> [each.shape for each in arrays_of({"images": torch.zeros(1, 3, 4, 4)})]
    [(1, 3, 4, 4)]
    """
    return [each.detach().contiguous().numpy() for each in tensors(inputs)]


def outputs_of(found: Any) -> list[Tensor]:
    """Outputs of a runtime as tensors: it may give arrays, nested as the model's outputs.

    >>> outputs_of({"a": torch.ones(1), "b": [torch.zeros(1).numpy()]})
    [tensor([1.]), tensor([0.])]
    """
    return [torch.as_tensor(each) for each in pytree.tree_leaves(found)]
