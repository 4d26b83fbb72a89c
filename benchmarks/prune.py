"""Prunes a network to a quarter of its multiply-accumulates with Torch-Pruning, and saves it whole.

    python benchmarks/prune.py resnet50 224 resnet50-pruned.pt

`rivals.py` runs this, in the environment that has Torch-Pruning. Every layer loses the same part of
its channels, those with the smallest weights, a hundredth at a time; widths are multiples of 8.
"""

import sys

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
    pruner = torch_pruning.pruner.MagnitudePruner(
        model,
        (image,),  # a tensor by itself it would take apart, into one argument an image
        importance=torch_pruning.importance.MagnitudeImportance(p=2),
        pruning_ratio=1.0,
        iterative_steps=STEPS,
        round_to=8,
        ignored_layers=linear[-1:],  # a class each
    )
    enough = PART * vp.measure.macs(model, image)
    for _ in range(STEPS):
        if vp.measure.macs(model, image) <= enough:
            return model
        pruner.step()
    raise SystemExit(f"Torch-Pruning leaves more than {PART:.0%} of the multiply-accumulates.")


if __name__ == "__main__":
    main()
