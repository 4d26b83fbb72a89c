"""The classification task: images by class as batches, and their accuracy."""

from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from torchvision.models import WeightsEnum

from virtualpool.errors import VirtualPoolError
from virtualpool.tasks.evaluation import evaluator
from virtualpool.tasks.images import SMALL, Images
from virtualpool.tasks.loading import loader, skipped_by
from virtualpool.tasks.preprocessing import Preprocessing
from virtualpool.tasks.sources import open_source

__all__ = ["Classification", "Preprocessing", "evaluator", "load_data"]

Batches = DataLoader[Any]


@dataclass(frozen=True)
class Classification:
    """A classification data set: batches of (images, labels) for training and for evaluation.

    `train` is `None` where the folder has only a test split.
    """

    train: Batches | None
    test: Batches
    classes: list[str]

    def some_training_images(self, count: int, seed: int = 0) -> Batches:
        """Batches of at most `count` training images, prepared as for evaluation.

        They come in an order drawn once, as many of each class as can be: `virtualpool.reconstruct`
        holds the last ones out.

        Raises:
            VirtualPoolError: there are no training images, or `count` is below 1.
        """
        if self.train is None:
            raise VirtualPoolError("The data have no training images; add a folder train.")
        images: Any = self.train.dataset
        chosen = _balanced(images.labels, min(count, len(images)), seed, "training images")
        order = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(seed))
        plain = images.plain([chosen[place] for place in order.tolist()])
        size = self.train.batch_size or 1
        return _loader(plain, size, self.train.num_workers, training=False)

    @property
    def skipped(self) -> list[str]:
        """The files that were met so far and could not be read."""
        return skipped_by(self.train, self.test)


def load_data(
    source: str | Path,
    *,
    preprocessing: Preprocessing | WeightsEnum | str | None = None,
    batch_size: int = 128,
    subset: int | None = None,
    workers: int | None = None,
    seed: int = 0,
    labels: bool = True,
) -> Classification:
    """Opens a classification data set.

    Batches are (N, 3, size, size) float32 images, normalised, channels last, and (N,) int64
    labels. Small images, and an evaluation's images that fit in a GiB, are decoded once.

    Args:
        source: a folder `<split>/<class>/<image>` with the splits train and test
            (or val, valid, validation); `sample:cifar10`; `torchvision:CIFAR10` or
            `torchvision:CIFAR100`, downloaded if need be, into ROOT by `torchvision:CIFAR10:ROOT`;
            or `torchvision:ImageNet:ROOT`.
        preprocessing: how images are prepared: a `Preprocessing`, or torchvision's weights, such
            as "ResNet50_Weights.IMAGENET1K_V2". Only a folder needs it; the others have their own.
        batch_size: images in a batch, of each process.
        subset: use only this many test images, as many of each class as can be.
        workers: processes that decode images; None for two, or one on one core. Images of at most
            64 x 64 need none.
        seed: chooses the subset.
        labels: False takes any folder of images, too: its splits train and test, or four of five
            images and the fifth. All labels are 0 then.

    Returns:
        Batches for training (None where the source has none), batches for testing, and the
        classes.

    Raises:
        VirtualPoolError: the source is not there or laid out otherwise, a download failed, or the
            preprocessing is missing or unknown.

    >>> data = load_data("sample:cifar10", subset=100)
    >>> images, labels = next(iter(data.test))
    >>> images.shape, labels.bincount().tolist(), len(data.classes)
    (torch.Size([100, 3, 32, 32]), [10, 10, 10, 10, 10, 10, 10, 10, 10, 10], 10)
    """
    opened = open_source(source, labels=labels)
    chosen = preprocessing or opened.preprocessing
    if chosen is None:
        raise VirtualPoolError(
            f"{source}: say how these images are prepared, by preprocessing=Preprocessing(size=...)"
            ' or by the name of torchvision weights such as "ResNet50_Weights.IMAGENET1K_V2".'
        )
    if not isinstance(chosen, Preprocessing):
        chosen = Preprocessing.of(chosen)
    indices = None if subset is None else _balanced(opened.test.targets, subset, seed)
    test = Images(opened.test, chosen, training=False, indices=indices)
    train = None if opened.train is None else Images(opened.train, chosen, training=True)
    return Classification(
        train=None if train is None else _loader(train, batch_size, workers, training=True),
        test=_loader(test, batch_size, workers, training=False),
        classes=test.classes,
    )


def _loader(images: Images, batch_size: int, workers: int | None, *, training: bool) -> Batches:
    workers = 0 if images.in_memory and images.size <= SMALL else workers
    return loader(images, batch_size, workers, _as_it_is, training=training)


def _as_it_is(batch: Any) -> Any:
    # `Images` makes whole batches. A named function, so that worker processes can be started anew.
    return batch


def _balanced(targets: list[int], count: int, seed: int, what: str = "test images") -> list[int]:
    """Indices of `count` images: a round takes one of each class, drawn at random."""
    if not 0 < count <= len(targets):
        raise VirtualPoolError(
            f"A subset of {count} images cannot be taken of {len(targets)} {what}."
        )
    shuffled = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed)).tolist()
    taken: dict[int, int] = {}
    rounds = []
    for index in shuffled:
        label = targets[index]
        rounds.append((taken.get(label, 0), index))
        taken[label] = taken.get(label, 0) + 1
    # A stable sort by round alone: which classes are one image ahead is random too.
    chosen = sorted(rounds, key=itemgetter(0))[:count]
    return sorted(index for _, index in chosen)
