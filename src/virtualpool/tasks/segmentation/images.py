"""Images and their masks as a data set, varied together; it survives files that cannot be read."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2 as transforms
from torchvision.transforms.v2 import functional
from torchvision.tv_tensors import Image, Mask

from virtualpool.errors import VirtualPoolError
from virtualpool.tasks.decoding import in_colour, opened
from virtualpool.tasks.loading import tried
from virtualpool.tasks.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Colour
from virtualpool.tasks.segmentation.layouts import IGNORED, Pair
from virtualpool.tasks.segmentation.listing import Split

_log = logging.getLogger(__name__)

Augmentation = Literal["none", "flip", "crop", "resized crop"]
Example = tuple[Tensor, Tensor]
"""A normalised (3, H, W) float32 image, and its (H, W) int64 mask."""


@dataclass(frozen=True)
class Preparation:
    """How images and masks are prepared, for evaluation and for training.

    Attributes:
        resize: the shorter side that images are resized to, and masks; none leaves them as they
            are.
        crop: (rows, columns) of the crops in training, for the augmentations that crop.
        augmentation: "none"; "flip", horizontally; "crop", that and a crop at a random place; or
            "resized crop", a flip and a crop of random place, size and shape.
        mean: the colours' means; colours are in [0, 1].
        std: the colours' standard deviations.
    """

    resize: int | None = None
    crop: tuple[int, int] | None = None
    augmentation: Augmentation = "flip"
    mean: Colour = IMAGENET_MEAN
    std: Colour = IMAGENET_STD

    def __post_init__(self) -> None:
        known = get_args(Augmentation)
        if self.augmentation not in known:
            raise VirtualPoolError(
                f"augmentation is {self.augmentation!r}; there are: {', '.join(known)}."
            )
        if "crop" in self.augmentation and self.crop is None:
            raise VirtualPoolError(
                f"The augmentation {self.augmentation!r} crops, and no size is given; give "
                "crop=(rows, columns), or --size on the command line."
            )

    @property
    def crops(self) -> bool:
        """Whether training images are cut to one size."""
        return self.crop is not None and "crop" in self.augmentation

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """The width and height of an image once its shorter side is resized."""
        shorter, side = min(width, height), self.resize or min(width, height)
        return side * width // shorter, side * height // shorter

    def augmentations(self, ignored: int) -> list[Any]:
        """The transforms of training images, which move an image and its mask together."""
        if self.augmentation == "none":
            return []
        flip = transforms.RandomHorizontalFlip()
        if self.crop is None or self.augmentation == "flip":
            return [flip]
        if self.augmentation == "resized crop":
            return [transforms.RandomResizedCrop(self.crop, scale=(0.25, 1.0)), flip]
        fill: Any = {Image: 0, Mask: ignored}
        return [transforms.RandomCrop(self.crop, pad_if_needed=True, fill=fill), flip]

    def normalised(self, image: Tensor) -> Tensor:
        """An image of bytes (3, H, W) as normalised float32."""
        scaled = functional.to_dtype(image, torch.float32, scale=True)
        return functional.normalize(scaled, list(self.mean), list(self.std))

    def as_bytes(self, image: Tensor) -> Tensor:
        """A normalised image (3, H, W) as it was, (H, W, 3) uint8."""
        mean, std = (torch.tensor(each).view(3, 1, 1) for each in (self.mean, self.std))
        scaled = (image * std + mean).clamp(0, 1)
        return functional.to_dtype(scaled, torch.uint8, scale=True).permute(1, 2, 0)


class Images(Dataset[Any]):
    """The images of a split with their masks, for training or for evaluation.

    An image that cannot be decoded, or whose mask holds a number that is no class, is marked in
    `skipped`, also by worker processes; evaluation goes without it, training takes the next one.
    """

    def __init__(
        self,
        split: Split,
        classes: Sequence[str],
        preparation: Preparation,
        *,
        training: bool,
        ignored: int = IGNORED,
        indices: Sequence[int] | None = None,
    ) -> None:
        self.classes = list(classes)
        self.ignored = ignored
        self._pairs = split.pairs if indices is None else [split.pairs[it] for it in indices]
        self._left_out = split.skipped
        self._preparation = preparation
        self._training = training
        self._augmentations = preparation.augmentations(ignored) if training else []
        self._unreadable = torch.zeros(len(self), dtype=torch.bool).share_memory_()

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, position: int) -> Example | None:
        """An image and its mask; `None` in place of one that cannot be used."""
        for candidate in tried(position, len(self), training=self._training):
            found = self._read(candidate)
            if found is not None:
                return self._prepared(*found)
        if self._training:
            raise VirtualPoolError(
                f"None of the {len(self)} training images can be read, such as "
                f"{self._pairs[0].image}."
            )
        return None

    @property
    def skipped(self) -> list[str]:
        """The files that were left out, and the ones that later could not be read."""
        unreadable = [self._pairs[int(at)].image for at in self._unreadable.nonzero()]
        return [str(path) for path in (*self._left_out, *unreadable)]

    def _read(self, position: int) -> tuple[Tensor, Tensor] | None:
        if self._unreadable[position]:
            return None
        pair = self._pairs[position]
        try:
            image = functional.pil_to_tensor(in_colour(opened(pair.image)))
            mask = self._mask(pair, image)
        except Exception as error:  # decoders raise anything: OSError, SyntaxError, struct.error
            _log.warning("%s cannot be read and is skipped (%s)", pair.image, error)
            self._unreadable[position] = True
            return None
        return image, mask

    def _mask(self, pair: Pair, image: Tensor) -> Tensor:
        if pair.mask is None:
            return torch.full(image.shape[1:], self.ignored)
        mask = read_mask(pair.mask, pair.numbers)
        check_values(mask, len(self.classes), self.ignored)
        return mask

    def _prepared(self, image: Tensor, mask: Tensor) -> Example:
        both: Any = Image(image), Mask(mask)
        if self._preparation.resize is not None:
            both = transforms.Resize(self._preparation.resize)(*both)
        for augmentation in self._augmentations:
            both = augmentation(*both)
        image, mask = (each.as_subclass(Tensor) for each in both)
        return self._preparation.normalised(image), mask.long()


def read_mask(path: Path, numbers: tuple[int, ...] | None = None) -> Tensor:
    """The classes in a mask, (H, W) int64; a palette's colours stand for their numbers.

    Args:
        path: of its file.
        numbers: as a `Pair` has them.
    """
    values = np.asarray(opened(path)).astype(np.int64)
    if numbers is not None:
        # A number that the data set does not have stays, to be named.
        mapped = np.take(numbers, values, mode="clip")
        values = np.where(values < len(numbers), mapped, values)
    return torch.from_numpy(values)


def check_values(mask: Tensor, classes: int, ignored: int) -> set[int]:
    """The numbers in a mask, refused if one is neither a class's nor the one of ignored pixels."""
    found = set(mask.unique().tolist())
    unknown = sorted(it for it in found if it != ignored and not 0 <= it < classes)
    if unknown:
        raise VirtualPoolError(
            f"The mask holds {', '.join(map(str, unknown[:5]))}, and the numbers of classes are 0 "
            f"to {classes - 1}, and {ignored} of ignored pixels. Write these into the masks, build "
            "the network for more classes, or say which number to ignore (ignored=..., or "
            "--ignore on the command line)."
        )
    return found


def as_batch(batch: list[Example | None]) -> Example:
    """Images (N, 3, H, W), channels last, and masks (N, H, W); N may be 0.

    Raises:
        VirtualPoolError: the images have several sizes.
    """
    found = [example for example in batch if example is not None]
    if not found:
        return torch.empty(0, 3, 1, 1), torch.empty(0, 1, 1, dtype=torch.int64)
    sizes = {tuple(mask.shape) for _, mask in found}
    if len(sizes) > 1:
        (one, *_, other) = sorted(sizes)
        raise VirtualPoolError(
            f"A batch has images of {one[0]} x {one[1]} and of {other[0]} x {other[1]} rows and "
            "columns. Crop them to one size, or give a batch size of 1."
        )
    images = torch.stack([image for image, _ in found])
    masks = torch.stack([mask for _, mask in found])
    return images.contiguous(memory_format=torch.channels_last), masks


def first_numbers(pairs: Sequence[Pair], classes: int, ignored: int, count: int) -> set[int]:
    """The numbers in a split's first masks; it is refused if one of them is no class's.

    That is a number of classes told wrongly, more likely than a broken file.
    """
    numbers: set[int] = set()
    for pair in pairs[:count]:
        if pair.mask is None:
            continue
        try:
            mask = read_mask(pair.mask, pair.numbers)
        except Exception:  # it is named when it is met
            continue
        try:
            numbers |= check_values(mask, classes, ignored)
        except VirtualPoolError as error:
            raise VirtualPoolError(f"{pair.mask}: {error}") from error
    return numbers
