"""Images and their objects as a data set, which survives files that cannot be read."""

import logging
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2 as transforms
from torchvision.transforms.v2 import functional
from torchvision.tv_tensors import BoundingBoxes, BoundingBoxFormat

from virtualpool.errors import VirtualPoolError
from virtualpool.tasks.decoding import in_colour, opened
from virtualpool.tasks.detection.objects import Objects, Split
from virtualpool.tasks.loading import tried

_log = logging.getLogger(__name__)

Augmentation = Literal["none", "flip", "flip both"]
Example = tuple[Tensor, dict[str, Tensor]]
"""A (3, H, W) float32 image in [0, 1], and the target for torchvision's detectors."""

_AUGMENTATIONS: dict[Augmentation, list[Any]] = {
    "none": [],
    "flip": [transforms.RandomHorizontalFlip()],
    "flip both": [transforms.RandomHorizontalFlip(), transforms.RandomVerticalFlip()],
}


class Images(Dataset[Any]):
    """The images of a split, for training or for evaluation.

    For evaluation a target has all of an image's `boxes`, `labels`, `ignored` and `areas`; for
    training its boxes and labels without the ignored ones, and an image without any is left
    out. An image that cannot be decoded is marked in `skipped`, also by worker processes;
    evaluation goes without it, training takes the next one in its place.
    """

    def __init__(
        self,
        split: Split,
        classes: list[str],
        *,
        training: bool,
        augmentation: Augmentation = "flip",
        indices: list[int] | None = None,
    ) -> None:
        if augmentation not in _AUGMENTATIONS:
            known = ", ".join(_AUGMENTATIONS)
            raise VirtualPoolError(f"augmentation is {augmentation!r}; there are: {known}.")
        images = split.images if indices is None else [split.images[index] for index in indices]
        self.classes = classes
        every = not training or not split.labels
        self._images = [it for it in images if every or not it.ignored.all()]
        self._left_out = split.skipped
        self._training = training
        self._augmentations = _AUGMENTATIONS[augmentation] if training else []
        self._unreadable = torch.zeros(len(self), dtype=torch.bool).share_memory_()

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, position: int) -> Example | None:
        """An image and its target; `None` in place of one that cannot be decoded."""
        for candidate in tried(position, len(self), training=self._training):
            image = self._decoded(candidate)
            if image is not None:
                return self._augmented(image, self._images[candidate])
        if self._training:
            raise VirtualPoolError(
                f"None of the {len(self)} training images can be read, such as "
                f"{self._images[0].path}."
            )
        return None

    @property
    def skipped(self) -> list[str]:
        """The files that were left out, and the ones that later could not be read."""
        unreadable = [self._images[int(at)].path for at in self._unreadable.nonzero()]
        return [str(path) for path in (*self._left_out, *unreadable)]

    def _decoded(self, position: int) -> Tensor | None:
        if self._unreadable[position]:
            return None
        image = decoded(self._images[position].path)
        self._unreadable[position] = image is None
        return image

    def _augmented(self, image: Tensor, objects: Objects) -> Example:
        if not self._training:
            names = ("boxes", "labels", "ignored", "areas")
            return image, {name: getattr(objects, name) for name in names}
        counted = ~objects.ignored
        size = (image.shape[-2], image.shape[-1])
        boxes: Any = BoundingBoxes(  # pyright: ignore[reportCallIssue]
            objects.boxes[counted], format=BoundingBoxFormat.XYXY, canvas_size=size
        )
        for augmentation in self._augmentations:
            image, boxes = augmentation(image, boxes)
        return image, {"boxes": boxes.as_subclass(Tensor), "labels": objects.labels[counted]}


def decoded(path: Path) -> Tensor | None:
    """A (3, H, W) float32 image in [0, 1]; `None`, and a warning, if it cannot be read."""
    try:
        pixels = functional.pil_to_tensor(in_colour(opened(path)))
    except Exception as error:  # decoders raise anything: OSError, SyntaxError, struct.error
        _log.warning("%s cannot be read and is skipped (%s)", path, error)
        return None
    return functional.to_dtype(pixels, torch.float32, scale=True)


def as_lists(batch: list[Example | None]) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """A batch as torchvision's detectors take it: a list of images and one of targets."""
    found = [example for example in batch if example is not None]
    return [image for image, _ in found], [target for _, target in found]
