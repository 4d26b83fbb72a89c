"""A data set of images that hands out whole batches and survives files that cannot be read."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from PIL.Image import Image
from torch import Tensor
from torch.utils.data import Dataset

from virtualpool.errors import VirtualPoolError
from virtualpool.tasks.loading import tried
from virtualpool.tasks.preprocessing import Preprocessing

_log = logging.getLogger(__name__)

MEMORY_LIMIT = 1 << 30
"""Decoded images are kept in memory when all of them take no more than this many bytes."""

SMALL = 64
"""Images of at most this height and width are fast enough to read without worker processes."""


class LabelledImages(Protocol):
    """The interface that torchvision's classification data sets share."""

    classes: list[str]
    targets: list[int]

    def __getitem__(self, index: int) -> tuple[Image, int]: ...


class Images(Dataset[Any]):
    """Some images of a torchvision data set as batches: normalised images and their labels.

    `DataLoader` asks for a batch at once, so augmentation and normalisation are one operation for
    all its images. A decoded image is kept when it fits in memory and does not differ from epoch
    to epoch. An image that cannot be decoded is marked in `skipped`, also by worker processes;
    evaluation goes without it, training takes the next one in its place.
    """

    def __init__(
        self,
        source: LabelledImages,
        preprocessing: Preprocessing,
        *,
        training: bool,
        indices: Sequence[int] | None = None,
    ) -> None:
        self.classes = list(source.classes)
        self.size = preprocessing.size
        self._source = source
        self._indices = list(range(len(source.targets)) if indices is None else indices)
        self._labels = torch.tensor([source.targets[index] for index in self._indices])
        self._preprocessing = preprocessing
        self._training = training
        self._kept: dict[int, Tensor] = {}
        self._unreadable = torch.zeros(len(self), dtype=torch.bool).share_memory_()
        same_each_time = not training or preprocessing.augmentation != "resized crop"
        fits = len(self) * 3 * self.size**2 <= MEMORY_LIMIT
        # Workers share out the images of an evaluation, but in training each would keep all.
        self.in_memory = fits and same_each_time and (not training or self.size <= SMALL)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        return self.__getitems__([position])

    def __getitems__(self, positions: list[int]) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) float32 images, channels last, and (N,) int64 labels."""
        found = [item for at in positions if (item := self._readable(at)) is not None]
        labels = self._labels[[position for _, position in found]]
        images = torch.empty(0, 3, self.size, self.size, dtype=torch.uint8)
        if found:
            images = torch.stack([pixels for pixels, _ in found])
        if self._training:
            images = self._preprocessing.augmented(images)
        return self._preprocessing.normalised(images), labels

    @property
    def labels(self) -> list[int]:
        """The number of each image's class."""
        return self._labels.tolist()

    def plain(self, positions: Sequence[int]) -> "Images":
        """Some of the images for training without augmentation, in the order of `positions`."""
        prepared = replace(self._preprocessing, augmentation="none")
        indices = [self._indices[position] for position in positions]
        return Images(self._source, prepared, training=True, indices=indices)

    @property
    def skipped(self) -> list[str]:
        """The files that were met and could not be read."""
        return [self._name(int(position)) for position in self._unreadable.nonzero()]

    def _readable(self, position: int) -> tuple[Tensor, int] | None:
        # The pixels at a position; in training, the next readable image's.
        for candidate in tried(position, len(self), training=self._training):
            pixels = self._pixels(candidate)
            if pixels is not None:
                return pixels, candidate
        if self._training:
            raise VirtualPoolError(
                f"None of the {len(self)} training images can be read, such as {self._name(0)}."
            )
        return None

    def _pixels(self, position: int) -> Tensor | None:
        if self._unreadable[position]:
            return None
        if position in self._kept:
            return self._kept[position]
        try:
            image, _ = self._source[self._indices[position]]
            pixels = self._preprocessing.pixels(image, training=self._training)
        except Exception as error:  # decoders raise anything: OSError, SyntaxError, struct.error
            _log.warning("%s cannot be read and is skipped (%s)", self._name(position), error)
            self._unreadable[position] = True
            return None
        if self.in_memory:
            self._kept[position] = pixels
        return pixels

    def _name(self, position: int) -> str:
        index = self._indices[position]
        samples = getattr(self._source, "samples", None)
        return samples[index][0] if samples else f"image {index}"
