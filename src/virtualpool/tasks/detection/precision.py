"""Boxes in full precision, though the network runs under autocast."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from virtualpool.graph.inputs import map_tensors

_HEADS = ("rpn.head", "roi_heads.box_predictor", "head")
"""The modules of the offsets from which torchvision's detectors compute boxes."""


@contextmanager
def full_precision_boxes(model: nn.Module) -> Iterator[None]:
    """Gives the outputs of a detector's heads in float32, where autocast has made them less.

    Torchvision computes boxes in the precision of these offsets. In bfloat16 that is eight bits: a
    coordinate over 256 would be an even number.
    """
    names = dict(model.named_modules())
    heads = [names[name] for name in _HEADS if name in names]
    handles = [head.register_forward_hook(_in_full) for head in heads]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _in_full(module: nn.Module, arguments: Any, output: Any) -> Any:
    return map_tensors(_widened, output)


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
