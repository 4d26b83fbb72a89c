"""Inputs and outputs of other runtimes, which take and give arrays of NumPy."""

from typing import Any

import torch
from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError
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


def check_outputs(model: nn.Module, outputs: Any) -> None:
    """Refuses outputs of a class that PyTorch cannot take apart, so that no file can give them.

    Raises:
        VirtualPoolError: the class is named, and an attribute of it that holds a tensor.
    """
    plain = (Tensor, int, float, complex, str, type(None))
    other = next((it for it in pytree.tree_leaves(outputs) if not isinstance(it, plain)), None)
    if other is None:
        return
    held = [name for name, value in getattr(other, "__dict__", {}).items() if tensors(value)]
    example = f", such as its .{held[0]}" if held else ""
    raise VirtualPoolError(
        f"{type(model).__name__} gives a {type(other).__name__}, which no file can hold. Export a "
        f"module around it that gives tensors, in tuples, lists or dicts{example}."
    )
