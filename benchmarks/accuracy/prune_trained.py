"""Prunes a trained network further and further with Torch-Pruning, and saves each step.

    python -m benchmarks.accuracy.prune_trained network.pt FOLDER

The ablations and the frontier run this, in the environment that has Torch-Pruning. A file
`part-0.60.pt` is the whole model with 60 % of the multiply-accumulates, or a little less.
"""

import sys
from pathlib import Path

import torch
from torch import nn

import virtualpool as vp
from benchmarks.accuracy.pruning import by_steps
from virtualpool.files import replacing

PARTS = [percent / 100 for percent in range(92, 6, -4)]
"""Of the multiply-accumulates; the last leaves less than pooling all sites does, a quarter."""


def main() -> None:
    file, folder = sys.argv[1:]
    model, image = torch.load(file, weights_only=False), torch.zeros(1, 3, 32, 32)
    # The last layer gives the classes.
    *_, last = (each for each in model.modules() if isinstance(each, nn.Conv2d | nn.Linear))
    whole, parts = vp.measure.macs(model, image), iter(PARTS)
    part = next(parts)
    for work in by_steps(model, image, kept=[last]):
        while work <= part * whole:
            with replacing(Path(folder) / f"part-{part:.2f}.pt") as beside:
                torch.save(model, beside)
            part = next(parts, 0.0)


if __name__ == "__main__":
    main()
