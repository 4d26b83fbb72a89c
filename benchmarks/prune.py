"""Prunes a network to a quarter of its multiply-accumulates with Torch-Pruning, and saves it whole.

    python benchmarks/prune.py resnet50 224 resnet50-pruned.pt

`rivals.py` runs this, in the environment that has Torch-Pruning. Every layer loses the same part of
its channels, those with the smallest weights, a hundredth at a time; widths are multiples of 8.
"""

import sys
from collections.abc import Iterator
from typing import Any

import torch
import torch_pruning  # pyright: ignore[reportMissingImports]
from networks import images, network
from torch import Tensor, nn

import virtualpool as vp

PART = 0.26
"""A quarter, and what the first layer has over, whose input keeps its channels."""

STEPS = 100


def main() -> None:
    name, side, file = sys.argv[1:]
    torch.save(pruned(network(name, int(side)), images(1, int(side))), file)


def pruned(model: nn.Module, image: Tensor) -> nn.Module:
    """The model with so many of its channels gone that a quarter of the work is left."""
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    enough = PART * vp.measure.macs(model, image)
    for work in by_steps(model, image, kept=linear[-1:]):
        if work <= enough:
            return model
    raise SystemExit(f"Torch-Pruning leaves more than {PART:.0%} of the multiply-accumulates.")


def by_steps(model: nn.Module, image: Tensor, kept: list[Any]) -> Iterator[int]:
    """Takes channels away from a model in place; gives the multiply-accumulates left each time.

    Args:
        model: what is pruned.
        image: what it is traced with.
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


if __name__ == "__main__":
    main()
