"""Prunes a network to a quarter of its multiply-accumulates with Torch-Pruning, and saves it whole.

    python -m benchmarks.accuracy.prune resnet50 224 resnet50-pruned.pt

`rivals.py` runs this, in the environment that has Torch-Pruning. Every layer loses the same part of
its channels, those with the smallest weights, a hundredth at a time; widths are multiples of 8.
"""

import sys

import torch
from torch import Tensor, nn

import virtualpool as vp
from benchmarks.accuracy.pruning import by_steps
from benchmarks.common.networks import images, network

PART = 0.26
"""A quarter, and the surplus of the first layer, whose input keeps its channels."""


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


if __name__ == "__main__":
    main()
