"""The images of a batch, and batches that are read again."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from virtualpool.errors import VirtualPoolError
from virtualpool.graph.inputs import images_in


def images_of(batch: Any) -> Any:
    """A model's inputs in a batch of images, of (images, labels), or in a dict (`images_in`).

    A batch (N, C, H, W) is laid out channels last; a list, as detectors take it, stays as it is.

    Raises:
        VirtualPoolError: the batch is a path, or a dict without images.

    >>> images_of((torch.zeros(2, 3, 4, 4), torch.zeros(2))).shape
    torch.Size([2, 3, 4, 4])
    """
    if isinstance(batch, str | Path):
        raise VirtualPoolError(
            f"A batch is {str(batch)!r:.80}; give images (N, C, H, W), or pairs of images and "
            "labels."
        )
    images = images_in(batch)
    if isinstance(images, Tensor) and images.ndim == 4:
        return images.contiguous(memory_format=torch.channels_last)
    return images


def check_repeatable(recoverable: Iterable[Any] | None) -> None:
    """Refuses an iterator, of which each model that is to be reconstructed would get a part."""
    if recoverable is not None and iter(recoverable) is recoverable:
        raise VirtualPoolError(
            "recoverable is read again for every model, and an iterator can be read once. "
            "Give a list or a DataLoader."
        )
