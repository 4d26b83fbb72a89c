"""Draws masks of CamVid beside each other, without the photographs, which may not be given on.

    python recipes/camvid/picture.py --weights runs/camvid/network.safetensors \
        --pooled runs/plans/pooled.safetensors --smaller runs/plans/smaller.safetensors \
        --data camvid --output masks.png

The images are those of the test split with the most pixels of poles, signs and pedestrians, far
enough from each other to show different scenes.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from train import CLASSES, UNLABELLED, network, opened

from virtualpool import load
from virtualpool.tasks.segmentation.drawing import side_by_side
from virtualpool.tasks.segmentation.found import found_in

THIN = [CLASSES.index(name) for name in ("pole", "sign", "pedestrian")]
SCENE = 30
"""Frames of one drive show the same scene for about so many."""


def main() -> None:
    """Draws."""
    options = _options()
    model = load(network(), options.weights)
    models = {
        "original": model,
        "pooled": load(model, options.pooled),
        "smaller image": load(model, options.smaller),
    }
    images: Any = opened(options.data, 1).test.dataset
    rows = []
    for place in _thinnest([mask for _, mask in images], options.images):
        image, truth = images[place]
        found = {
            name: found_in(image[None], each, len(CLASSES), truth.shape)[0]
            for name, each in models.items()
        }
        rows.append({"truth": truth, **found})
    side_by_side(rows, CLASSES, options.output, ignored=UNLABELLED)


def _thinnest(masks: list[Tensor], count: int) -> list[int]:
    """The places of the masks with the most pixels of thin things, one of each scene."""
    shares = torch.stack([torch.isin(each, torch.tensor(THIN)).float().mean() for each in masks])
    chosen: list[int] = []
    for place in shares.argsort(descending=True).tolist():
        if all(abs(place - other) >= SCENE for other in chosen):
            chosen.append(place)
    return chosen[:count]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("weights", "pooled", "smaller", "data", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--images", type=int, default=2, help="how many are drawn")
    return parser.parse_args()


if __name__ == "__main__":
    main()
