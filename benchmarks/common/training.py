"""Distillation as a benchmark of accuracy runs it: by task, on a part of the training images."""

from typing import Any

import torch
from torch.utils.data import Subset

from virtualpool.cli.task import Kind
from virtualpool.search import by_distillation
from virtualpool.tasks.classification import Batches
from virtualpool.tasks.detection import by_detector_distillation
from virtualpool.tasks.loading import loader

DISTILLATIONS: dict[Kind, Any] = {
    "classification": by_distillation,
    "detection": by_detector_distillation,
    "segmentation": by_distillation,
}
AUGMENTATIONS: dict[Kind, str] = {
    "classification": "crop",
    "detection": "flip both",
    "segmentation": "crop",
}
"""How training images are varied."""


def part_of(batches: Batches, count: int | None, seed: int = 0) -> Batches:
    """The training batches of so many of the images, drawn at random; all if None."""
    if count is None:
        return batches
    images: Any = batches.dataset
    drawn = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:count]
    size = batches.batch_size or 1
    return loader(Subset(images, drawn.tolist()), size, 0, batches.collate_fn, training=True)
