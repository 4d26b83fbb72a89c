"""The segmentation task: images with masks as batches, and their mean intersection over union."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from virtualpool.errors import VirtualPoolError
from virtualpool.tasks.loading import loader, skipped_by
from virtualpool.tasks.segmentation.evaluation import evaluator
from virtualpool.tasks.segmentation.images import (
    IGNORED,
    Augmentation,
    Images,
    Preparation,
    as_batch,
    first_numbers,
    read_mask,
)
from virtualpool.tasks.segmentation.layouts import Pair
from virtualpool.tasks.segmentation.listing import NAMES, Split, class_names, read_splits
from virtualpool.tasks.segmentation.loss import PixelLoss

__all__ = [
    "IGNORED",
    "Augmentation",
    "PixelLoss",
    "Preparation",
    "Segmentation",
    "evaluator",
    "load_data",
]

_log = logging.getLogger(__name__)

Batches = DataLoader[Any]
_LOOKED_AT = 20
_COUNTED = 100


@dataclass(frozen=True)
class Segmentation:
    """A segmentation data set: batches of images and masks for training and for evaluation.

    Attributes:
        train: the training batches; `None` where there is only a test split.
        test: the batches to evaluate on.
        classes: their names; the first has the number 0 in masks.
        ignored: the number of pixels without a class.
        preparation: how images and masks are prepared.
        splits: the splits that were read, by their names, "train" and "test".
    """

    train: Batches | None
    test: Batches
    classes: list[str]
    ignored: int
    preparation: Preparation
    splits: dict[str, Split]

    def some_training_images(self, count: int, seed: int = 0) -> Batches:
        """Batches of at most `count` training images, drawn at random, whole and not varied.

        Raises:
            VirtualPoolError: there are no training images, or `count` is below 1.
        """
        train = self._training()
        size = _batch_size(self.splits["train"], self.preparation, train.batch_size or 1)
        split = self.splits["train"]
        chosen = _drawn(len(split.pairs), min(count, len(split.pairs)), seed, "training images")
        given: Any = split, self.classes, self.preparation
        images = Images(*given, training=False, ignored=self.ignored, indices=chosen)
        return loader(images, size, train.num_workers, as_batch, training=False)

    def of_one_class(self) -> float:
        """The mIoU of the best mask with one class everywhere, which needs no look at an image.

        It is counted in about 100 test masks.
        """
        counts = self._pixels("test")
        present = int((counts > 0).sum())
        return float(counts.max() / counts.sum()) / present if present else 0.0

    def class_weights(self) -> tuple[float, ...]:
        """Weights for `PixelLoss`: the median frequency by each class's, at most 10.

        The frequencies are of the pixels in about 100 training masks; a class that is not in
        them has the weight 1 (Eigen and Fergus, 2015).

        Raises:
            VirtualPoolError: there are no training images.
        """
        self._training()
        counts = self._pixels("train")
        shares = counts / counts.sum().clamp_min(1)
        median = shares[shares > 0].median() if bool((shares > 0).any()) else torch.ones(())
        weights = torch.where(shares > 0, (median / shares).clamp_max(10.0), 1.0)
        return tuple(round(weight, 4) for weight in weights.tolist())

    @property
    def skipped(self) -> list[str]:
        """The files that were left out, or met so far and could not be read."""
        return skipped_by(self.train, self.test)

    def _pixels(self, split: str) -> Tensor:
        """How many pixels of each class some masks of a split hold, spread over all of them."""
        pairs = self.splits[split].pairs
        some = pairs[:: max(1, len(pairs) // _COUNTED)]
        return _pixels_in(some, len(self.classes), self.ignored)

    def _training(self) -> Batches:
        if self.train is None:
            raise VirtualPoolError("The data have no training images; add a split train.")
        return self.train


def load_data(
    source: str | Path,
    *,
    classes: Sequence[str] | int | None = None,
    ignored: int = IGNORED,
    preparation: Preparation | None = None,
    batch_size: int = 4,
    subset: int | None = None,
    workers: int | None = None,
    seed: int = 0,
    labels: bool = True,
) -> Segmentation:
    """Opens a segmentation data set, in folders of its own or in those of VOC or Cityscapes.

    A batch is (N, 3, H, W) float32 images, normalised, channels last, and (N, H, W) int64 masks
    with the number of a class at each pixel.

    The folder has `<split>/<name>.jpg` with masks `<split>annot/<name>.png`, as CamVid is
    published; or `JPEGImages`, `SegmentationClass` and `ImageSets/Segmentation` as PASCAL VOC; or
    `leftImg8bit` and `gtFine` as Cityscapes, of which the 19 classes of training are read.

    An image is left out, and named in `splits`, if its mask is missing, of another size, or has
    colours in place of numbers. A mask with a number that is no class is refused where it is one
    of the first of its split, since more of them are to be feared; later its image is skipped and
    named in the log, as one is that cannot be decoded.

    Args:
        source: the folder with the splits train and test (or val).
        classes: their names, or how many there are; as the file `classes.txt` in the folder says,
            a name a line, if not given.
        ignored: the number of pixels without a class.
        preparation: sizes, normalisation and augmentation; as `Preparation()` if not given.
        batch_size: images in a batch, of each process; whole images of several sizes come singly.
        subset: use only this many test images, drawn at random.
        workers: processes that decode images; None for two, or one on one core.
        seed: chooses the subset.
        labels: False takes any folder of images, too: its splits train and test, or four of five
            images and the fifth. All pixels of their masks are ignored ones.

    Returns:
        Batches for training (None where the folder has none), batches for testing, and the
        classes.

    Raises:
        VirtualPoolError: the folder is not there or laid out otherwise, nothing in it can be used,
            the classes are not known, or a mask holds a number that is no class.
    """
    folder, prepared = Path(source), preparation or Preparation()
    splits = read_splits(folder, labels=labels)
    names = _names(folder, classes)
    held: set[int] = set()
    for split in splits.values():
        held |= first_numbers(split.pairs, len(names), ignored, _LOOKED_AT)
    if ignored in held and len(held) == 2 and len(names) > 1:
        _log.warning(
            "The first masks of %s hold %d alone, beside %d of ignored pixels. If %d is a class, "
            "write its number in its place, such as 1, or ignore another one (--ignore).",
            folder,
            *sorted(held),
            ignored,
        )
    test = splits["test"]
    chosen = None if subset is None else _drawn(len(test.pairs), subset, seed)
    tested = Images(test, names, prepared, training=False, ignored=ignored, indices=chosen)
    train = None
    if "train" in splits:
        split, size = splits["train"], batch_size
        if not prepared.crops and (size := _batch_size(split, prepared, batch_size)) < batch_size:
            _log.warning(
                "The training images have several sizes, so each is a batch. To train with larger "
                "batches, cut them to one size (augmentation 'crop'; --size on the command line)."
            )
        trained = Images(split, names, prepared, training=True, ignored=ignored)
        train = loader(trained, size, workers, as_batch, training=True)
    return Segmentation(
        train=train,
        test=loader(
            tested, _batch_size(test, prepared, batch_size), workers, as_batch, training=False
        ),
        classes=names,
        ignored=ignored,
        preparation=prepared,
        splits=splits,
    )


def _names(folder: Path, classes: Sequence[str] | int | None) -> list[str]:
    if isinstance(classes, int):
        return class_names(folder, classes) or [f"class {number}" for number in range(classes)]
    names = classes or class_names(folder)
    if not names:
        raise VirtualPoolError(
            f"{folder}: nothing says which classes there are; give classes=[...], or a file "
            f"{NAMES} with a name on each line."
        )
    return list(names)


def _batch_size(split: Split, prepared: Preparation, asked: int) -> int:
    """The images in a batch of whole ones: 1 where they have several sizes."""
    sizes = {prepared.resized(*size) for size in split.sizes}
    return asked if len(sizes) == 1 else 1


def _pixels_in(pairs: Sequence[Pair], classes: int, ignored: int) -> Tensor:
    """How many pixels of each class the masks hold that can be read."""
    counts = torch.zeros(classes, dtype=torch.int64)
    for pair in pairs:
        if pair.mask is None:
            continue
        try:
            mask = read_mask(pair.mask, pair.numbers)
        except Exception:  # it is named when it is met
            continue
        counted = mask[(mask != ignored) & (mask < classes)]
        counts += torch.bincount(counted, minlength=classes)
    return counts


def _drawn(available: int, count: int, seed: int, what: str = "test images") -> list[int]:
    if not 0 < count <= available:
        raise VirtualPoolError(f"A subset of {count} images cannot be taken of {available} {what}.")
    order = torch.randperm(available, generator=torch.Generator().manual_seed(seed)).tolist()
    return sorted(order[:count])
