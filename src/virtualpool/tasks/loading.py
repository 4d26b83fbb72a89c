"""How the images of a task are loaded, in batches, by other processes."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset


def tried(position: int, count: int, *, training: bool) -> Iterator[int]:
    """The positions of which the first readable image serves: in training all, else the one asked.

    >>> [*tried(1, 3, training=True)], [*tried(-1, 3, training=False)]
    ([1, 2, 0], [2])

    Raises:
        IndexError: there is no such position; a `for` loop over the images ends by it.
    """
    if not -count <= position < count:
        raise IndexError(f"There is no image {position}: there are {count}.")
    return ((position + step) % count for step in range(count if training else 1))


def loader(
    images: Any,
    batch_size: int,
    workers: int | None,
    collate: Callable[[Any], Any],
    *,
    training: bool,
) -> DataLoader[Any]:
    """Batches of images; of training images in another order each epoch, and whole ones alone.

    Args:
        images: a `Dataset` that knows its length.
        batch_size: images in a batch, at most.
        workers: processes that decode images; None for two, or one where this process has one
            core: PyTorch warns of more processes than cores.
        collate: makes a batch of the data set's items.
        training: whether these are training images.
    """
    assert isinstance(images, Dataset)
    workers = min(2, _cores()) if workers is None else workers
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


def _cores() -> int:
    """The cores that this process may use, which a container or `taskset` limits."""
    has_limit = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if has_limit else os.cpu_count() or 1


def skipped_by(*loaders: DataLoader[Any] | None) -> list[str]:
    """The files that the data sets of loaders met so far and could not read."""
    datasets: list[Any] = [each.dataset for each in loaders if each is not None]
    return [name for dataset in datasets for name in dataset.skipped]
