"""A fused network in an ONNX file takes images of one height and width.

The borders of its maps depend on whether these are odd or even. A program of `torch.export` refuses
images of the other kind; a file of ONNX would take them, and give other numbers.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from virtualpool.errors import VirtualPoolError
from virtualpool.exporting import is_exporting_onnx


def refuse_open_sizes_for_onnx(inputs: Any, name: str) -> None:
    """Refuses maps with rows or columns that are open, where an ONNX file is being made.

    Args:
        inputs: of a fused module, nested as they may be.
        name: its class.

    Raises:
        VirtualPoolError: one of these maps is of an open size.
    """
    # Dynamo, which the exporter tries next, cannot tell what is open.
    if is_exporting_onnx() and (torch.compiler.is_dynamo_compiling() or _are_open(inputs)):
        raise VirtualPoolError(
            f"{name} is fused, and an ONNX file of it takes images of one height and width, for "
            "the borders of its maps depend on whether these are odd or even. Leave axes 2 and 3 "
            "out of dynamic_shapes (the batch may be open), or export the pooled model as it is "
            "written, which takes every size. If they are fixed already, torch.export cannot take "
            "the model otherwise: torch.export.export(model, inputs) says why."
        )


def _are_open(inputs: Any) -> bool:
    maps = [leaf for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor) and leaf.ndim == 4]
    return not all(isinstance(length, int) for map in maps for length in map.shape[-2:])
