"""Images without labels, of any folder: some to solve with and some held out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from virtualpool.errors import VirtualPoolError
from virtualpool.observer import Observer, unobserved
from virtualpool.tasks.folders import HELD_OUT, ImageFiles, images_in
from virtualpool.tasks.images import Images
from virtualpool.tasks.preprocessing import Preprocessing

_BATCH = 64
_FEWEST = 3


@dataclass(frozen=True)
class Unlabelled:
    """Normalised images in batches (N, 3, size, size) of float32, channels last.

    Attributes:
        batches: images to solve with.
        held_out: images to judge by.
        skipped: files that could not be read.
    """

    batches: Sequence[Tensor]
    held_out: Sequence[Tensor]
    skipped: list[str]


def load_unlabelled(
    folder: Path | str,
    preprocessing: Preprocessing,
    count: int = 1000,
    *,
    seed: int = 0,
    observer: Observer = unobserved,
) -> Unlabelled:
    """Reads images of a folder and of all folders in it, drawn at random.

    A file that cannot be read is logged and skipped, and another one takes its place.

    Args:
        folder: holds images, without labels.
        preprocessing: how images are prepared; as for evaluation.
        count: how many images to solve with, at most. A quarter as many are held out, or of fewer
            images one in five.
        seed: draws the images.
        observer: is told of progress.

    Raises:
        VirtualPoolError: there is no such folder, or it has fewer than three images to read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise VirtualPoolError(f"{folder}: no such folder; give one that holds images.")
    files = ImageFiles(list(images_in(folder)))
    if not files.paths:
        raise VirtualPoolError(
            f"{folder}: no image in it or in its folders; give one that holds {_FEWEST} at least, "
            "better a few hundred."
        )
    order = torch.randperm(len(files.paths), generator=torch.Generator().manual_seed(seed)).tolist()
    plain = replace(preprocessing, augmentation="none")
    images = Images(files, plain, training=False, indices=order)
    wanted, read = min(len(order), count + count // (HELD_OUT - 1)), []
    for first in range(0, len(order), _BATCH):
        done = sum(map(len, read))
        if done >= wanted:
            break
        observer("images", done, wanted, files.paths[order[first]].name)
        batch, _ = images.__getitems__([*range(first, min(first + _BATCH, len(order)))])
        read.append(batch)
    found = torch.cat([torch.empty(0, 3, images.size, images.size), *read])[:wanted]
    observer("images", wanted, wanted, "read")
    if len(found) < _FEWEST:
        raise VirtualPoolError(
            f"{folder}: {len(found)} of {len(order)} images in it can be read; give {_FEWEST} at "
            "least, better a few hundred."
        )
    held = max(1, len(found) // HELD_OUT)
    return Unlabelled(found[:-held].split(_BATCH), found[-held:].split(_BATCH), images.skipped)
