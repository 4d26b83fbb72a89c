"""A fused network in an ONNX file or in TorchScript takes images of one height and width.

The borders of its maps depend on whether these are odd or even. A program of `torch.export` refuses
images of the other kind; the file written here would take them, and give other numbers.
"""

from typing import Any

import torch
from torch import Tensor

from virtualpool.errors import VirtualPoolError
from virtualpool.graph.inputs import map_tensors, tensors
from virtualpool.operator.exporting import is_exporting_onnx, is_traced_by_jit


def of_fixed_sizes(inputs: Any, name: str, *, has_border: bool = True) -> Any:
    """The inputs of a fused module, which its copy in a file takes in the size of these alone.

    Args:
        inputs: nested as they may be.
        name: the class of the module.
        has_border: whether it makes the border of a map; with padded borders it does not.

    Raises:
        VirtualPoolError: an ONNX file is being made, and rows or columns of a map are open.
    """
    if is_traced_by_jit():
        return map_tensors(_refusing_others, inputs)
    if not is_exporting_onnx():
        return inputs
    # Dynamo, which the exporter tries next, cannot tell which sizes are open.
    is_next = torch.compiler.is_dynamo_compiling()
    if has_border and (is_next or _are_open(inputs)):
        raise VirtualPoolError(
            f"{name} is fused, and an ONNX file of it takes images of one height and width, for "
            "the borders of its maps depend on whether these are odd or even. Leave axes 2 and 3 "
            "out of dynamic_shapes of torch.onnx.export (the batch may be open), pool with "
            "border='padded', or export the unfused model, which both take every size. If they "
            "are fixed already, torch.export fails for another reason: "
            "torch.export.export(model, inputs) gives it."
        )
    if is_next:
        raise VirtualPoolError(
            f"{name} is fused, and torch.export fails: torch.export.export(model, inputs) gives "
            "the reason. Export with larger images if rows or columns are to be open, and a map "
            "has only one of them."
        )
    return inputs


def _refusing_others(x: Tensor) -> Tensor:
    """A map as it is, by an operation that fails where rows or columns are others than here."""
    if x.ndim != 4:
        return x
    rows, columns = (int(length) for length in x.shape[-2:])
    return x.expand(-1, -1, rows, columns)


def _are_open(inputs: Any) -> bool:
    maps = [tensor for tensor in tensors(inputs) if tensor.ndim == 4]
    return not all(isinstance(length, int) for map in maps for length in map.shape[-2:])
