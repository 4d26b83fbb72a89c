"""Training images of which a benchmark takes a part."""

from typing import Any

import torch
from torch.utils.data import Subset

from virtualpool.tasks.classification import Batches
from virtualpool.tasks.loading import loader


def part_of(batches: Batches, count: int | None, seed: int = 0) -> Batches:
    """The training batches of so many of the images, drawn at random; all if None."""
    if count is None:
        return batches
    images: Any = batches.dataset
    drawn = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:count]
    size = batches.batch_size or 1
    return loader(Subset(images, drawn.tolist()), size, 0, batches.collate_fn, training=True)
