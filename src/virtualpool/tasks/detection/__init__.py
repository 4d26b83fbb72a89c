"""The detection task: images with boxes as batches, and their mean average precision."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Subset

from virtualpool.errors import VirtualPoolError
from virtualpool.tasks.detection.distillation import by_detector_distillation
from virtualpool.tasks.detection.evaluation import Metric, evaluator
from virtualpool.tasks.detection.images import Augmentation, Images, as_lists
from virtualpool.tasks.detection.listing import read_marked
from virtualpool.tasks.detection.loss import detector_loss
from virtualpool.tasks.detection.objects import Split
from virtualpool.tasks.loading import loader, skipped_by

__all__ = [
    "Augmentation",
    "Detection",
    "Metric",
    "by_detector_distillation",
    "detector_loss",
    "evaluator",
    "load_data",
]

Batches = DataLoader[Any]


@dataclass(frozen=True)
class Detection:
    """A detection data set: batches of images and targets for training and for evaluation.

    Attributes:
        train: the training batches; `None` where there is only a test split.
        test: the batches to evaluate on.
        classes: their names; the first has the label 1.
        splits: the splits that were read, by their names, "train" and "test".
    """

    train: Batches | None
    test: Batches
    classes: list[str]
    splits: dict[str, Split]

    def some_training_images(self, count: int, seed: int = 0) -> Batches:
        """Batches of at most `count` training images with objects, drawn at random, not varied.

        Raises:
            VirtualPoolError: there are no training images, or `count` is below 1.
        """
        if self.train is None:
            raise VirtualPoolError("The data have no training images; add a split train.")
        split = self.splits["train"]
        every = Images(split, self.classes, training=True, augmentation="none")
        chosen = _drawn(len(every), min(count, len(every)), seed, "training images")
        images = Subset(every, chosen)
        workers, size = self.train.num_workers, self.train.batch_size or 1
        return loader(images, size, workers, as_lists, training=False)

    @property
    def skipped(self) -> list[str]:
        """The files that were left out, or met so far and could not be read."""
        return skipped_by(self.train, self.test)


def load_data(
    source: str | Path,
    *,
    augmentation: Augmentation = "flip",
    batch_size: int = 2,
    subset: int | None = None,
    workers: int | None = None,
    seed: int = 0,
    labels: bool = True,
) -> Detection:
    """Opens a detection data set in the layout of VOC or of COCO.

    A batch is a list of (3, H, W) float32 images in [0, 1], of any sizes, and a list of targets;
    torchvision's detectors resize and normalise by themselves.

    Unusable entries are left out, and named in the log and in `splits`: images that are missing or
    broken, or whose XML is; boxes that are empty or outside of their image. A box that is partly
    outside is clipped. Training leaves out images without any object that counts.

    Args:
        source: the folder: `JPEGImages`, `Annotations` and `ImageSets/Main` as in VOC, or
            `annotations/instances_<split>.json` and `<split>` as in COCO.
        augmentation: of training images: "none", "flip" (horizontally) or "flip both" (upside down,
            too, for images that have no up and down).
        batch_size: images in a batch, of each process.
        subset: use only this many test images, drawn at random.
        workers: processes that decode images; None for two, or one on one core.
        seed: chooses the subset.
        labels: False takes any folder of images, too: its splits train and test, or four of five
            images and the fifth. Nothing is marked in them, and there are no classes.

    Returns:
        Batches for training (None where the folder has none), batches for testing, and the
        classes.

    Raises:
        VirtualPoolError: the folder is not there or laid out otherwise, nothing in it can be used,
            or COCO's layout is read without pycocotools.
    """
    folder = Path(source)
    train, test, classes = read_marked(folder, labels=labels)
    chosen = None if subset is None else _drawn(len(test.images), subset, seed)
    tested = Images(test, classes, training=False, indices=chosen)
    batches = None
    if train is not None:
        trained = Images(train, classes, training=True, augmentation=augmentation)
        if not len(trained):
            raise VirtualPoolError(f"{folder}: no training image has an object to learn from.")
        batches = loader(trained, batch_size, workers, as_lists, training=True)
    return Detection(
        train=batches,
        test=loader(tested, batch_size, workers, as_lists, training=False),
        classes=classes,
        splits={name: split for name, split in (("train", train), ("test", test)) if split},
    )


def _drawn(available: int, count: int, seed: int, what: str = "test images") -> list[int]:
    if not 0 < count <= available:
        raise VirtualPoolError(f"A subset of {count} images cannot be taken of {available} {what}.")
    order = torch.randperm(available, generator=torch.Generator().manual_seed(seed)).tolist()
    return sorted(order[:count])
