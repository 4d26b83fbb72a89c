"""Images in folders, by class or without labels, where links may go round in circles."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from virtualpool.errors import VirtualPoolError
from virtualpool.tasks.decoding import opened
from virtualpool.words import some

_log = logging.getLogger(__name__)

TEST = ("test", "val", "valid", "validation")
"""Names of the split that judges."""
HELD_OUT = 5
"""One of so many images without labels is held out."""

Identity = tuple[int, int]
"""Device and inode: the same of a folder and of all links to it."""


class ClassFolders(ImageFolder):
    """torchvision's `ImageFolder`, which takes each folder of a class once.

    Links to other folders are followed; one to a folder that is read already, or to one around it,
    is left out and logged. Images come as they are in their files, 16 bits and all.
    """

    def __init__(self, root: Path | str, **options: Any) -> None:
        super().__init__(str(root), loader=opened, **options)

    @staticmethod
    def make_dataset(
        directory: str | Path, class_to_idx: dict[str, int], *_: Any, **__: Any
    ) -> list[tuple[str, int]]:
        """The paths of the images, in order, with the numbers of their classes."""
        found: list[tuple[str, int]] = []
        empty = []
        for name, number in sorted(class_to_idx.items()):
            images = list(images_in(Path(directory) / name))
            found += [(str(path), number) for path in images]
            if not images:
                empty.append(name)
        if empty:
            raise FileNotFoundError(f"no image in the folder of the class {some(empty)}")
        return found


class ImageFiles:
    """Image files without labels, as torchvision's data sets of one class are."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self.classes = ["image"]
        self.targets = [0] * len(paths)
        self.samples = [(str(path), 0) for path in paths]

    def __getitem__(self, index: int) -> tuple[Image, int]:
        return opened(self.paths[index]), 0


def without_labels(folder: Path) -> tuple[list[Path], list[Path]]:
    """The images of a folder without labels: some to train with, and some to judge by.

    They are the images of its splits train and test (or val, valid, validation). A folder without
    these gives one image in five to judge by, the same ones each time.

    Raises:
        VirtualPoolError: there is no such folder, or none to judge by is in it.
    """
    if not folder.is_dir():
        raise VirtualPoolError(f"{folder}: no such folder; give one that holds images.")
    split = next((name for name in TEST if (folder / name).is_dir()), None)
    if split is not None:
        train, test = [*images_in(folder / "train")], [*images_in(folder / split)]
    else:
        every = [*images_in(folder)]
        drawn = torch.randperm(len(every), generator=torch.Generator().manual_seed(0)).tolist()
        held_out = set(drawn[: -(-len(every) // HELD_OUT)])
        train = [path for place, path in enumerate(every) if place not in held_out]
        test = [every[place] for place in sorted(held_out)]
    if not test:
        raise VirtualPoolError(
            f"{folder}: no image in it or in its folders that could judge; give one that holds a "
            "few hundred."
        )
    return train, test


def images_in(folder: Path) -> Iterator[Path]:
    """The image files of a folder and of all folders in it, in order, each once."""
    # A link to a folder around this one leads back here, and past it to other classes.
    seen = {_identity(parent) for parent in folder.resolve().parents}
    for path, folders, files in os.walk(folder, followlinks=True, onerror=_unreadable):
        seen.add(_identity(Path(path)))
        folders[:] = [name for name in sorted(folders) if _is_new(Path(path) / name, seen)]
        for name in sorted(files):
            if name.lower().endswith(IMG_EXTENSIONS):
                yield Path(path) / name


def _is_new(folder: Path, seen: set[Identity]) -> bool:
    """Whether a folder is met for the first time; from now on it is not."""
    try:
        identity = _identity(folder)
    except OSError as error:
        _unreadable(error)
        return False
    if identity in seen:
        _log.warning("%s is left out: it leads to a folder that is read already", folder)
        return False
    seen.add(identity)
    return True


def _identity(folder: Path) -> Identity:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _unreadable(error: OSError) -> None:
    _log.warning("%s cannot be read and is left out (%s)", error.filename, error.strerror)
