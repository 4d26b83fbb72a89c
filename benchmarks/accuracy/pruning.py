"""Torch-Pruning, step by step: for environments that have it.

Every layer loses the same part of its channels, those with the smallest weights, a hundredth at a
time; widths are multiples of 8.
"""

from collections.abc import Iterator
from typing import Any

import torch_pruning  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn

import virtualpool as vp

STEPS = 100


def by_steps(model: nn.Module, image: Tensor, kept: list[Any]) -> Iterator[int]:
    """Takes channels away from a model in place; gives the multiply-accumulates left each time.

    Args:
        model: the model to prune.
        image: the image to trace it with.
        kept: the layer that gives the classes, an output each.
    """
    pruner = torch_pruning.pruner.MagnitudePruner(
        model,
        (image,),  # a tensor by itself it would take apart, into one argument an image
        importance=torch_pruning.importance.MagnitudeImportance(p=2),
        pruning_ratio=1.0,
        iterative_steps=STEPS,
        round_to=8,
        ignored_layers=kept,
    )
    for _ in range(STEPS):
        yield vp.measure.macs(model, image)
        pruner.step()
