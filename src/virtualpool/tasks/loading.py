"""How the images of a task are loaded, in batches, by other processes."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset


def loader(
    images: Any, batch_size: int, workers: int, collate: Callable[[Any], Any], *, training: bool
) -> DataLoader[Any]:
    """Batches of images; of training images in another order each epoch, and whole ones alone.

    Args:
        images: a `Dataset` that knows its length.
        batch_size: images in a batch, at most.
        workers: processes that decode images.
        collate: makes a batch of the data set's items.
        training: whether these are training images.
    """
    assert isinstance(images, Dataset)
    return DataLoader(
        images,
        batch_size=min(batch_size, len(images)),  # pyright: ignore[reportArgumentType]
        shuffle=training,
        drop_last=training,
        num_workers=workers,
        # In training they would draw on from one epoch to the next, so none could be done again.
        persistent_workers=workers > 0 and not training,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
    )


def skipped_by(*loaders: DataLoader[Any] | None) -> list[str]:
    """The files that the data sets of loaders met so far and could not read."""
    datasets: list[Any] = [each.dataset for each in loaders if each is not None]
    return [name for dataset in datasets for name in dataset.skipped]
