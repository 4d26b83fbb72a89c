"""From a decoded image to a network's input: sizes, normalisation, augmentation."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn.functional import pad
from torchvision.models import WeightsEnum, get_weight
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import CenterCrop, RandomResizedCrop, Resize
from torchvision.transforms.v2 import functional as transforms

from virtualpool.errors import VirtualPoolError
from virtualpool.models import CIFAR10_MEAN, CIFAR10_STD
from virtualpool.tasks.decoding import in_colour
from virtualpool.torch_private import is_for_classification

Augmentation = Literal["none", "flip", "crop", "resized crop"]
Colour = tuple[float, float, float]
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CROP_PADDING = 4
LARGEST = 1 << 27
"""Pixels of an image that is resized; Pillow refuses to open larger ones, as bombs."""


@dataclass(frozen=True)
class Preprocessing:
    """How images are prepared, for evaluation and for training.

    For evaluation: the shorter side is resized to `resize` (by default `size`), the central
    `size` x `size` is cut out, and its colours, in [0, 1], are normalised by `mean` and `std`.

    Training adds an augmentation: "none"; "flip", horizontally; "crop", that and a shift by up to
    4 pixels with black beyond the edge, as is usual for CIFAR; or "resized crop", a flip and a
    crop of random place, size and shape in place of the central one, as is usual for ImageNet.

    >>> cifar = Preprocessing(size=32, augmentation="crop")
    >>> cifar.normalised(torch.zeros(8, 3, 32, 32, dtype=torch.uint8)).shape
    torch.Size([8, 3, 32, 32])
    """

    size: int
    resize: int | None = None
    mean: Colour = IMAGENET_MEAN
    std: Colour = IMAGENET_STD
    augmentation: Augmentation = "none"
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        for name, known in (
            ("augmentation", get_args(Augmentation)),
            ("interpolation", [mode.value for mode in InterpolationMode]),
        ):
            if getattr(self, name) not in known:
                raise VirtualPoolError(
                    f"{name} is {getattr(self, name)!r}; there are: {', '.join(known)}."
                )

    @classmethod
    def of(cls, weights: str | WeightsEnum) -> "Preprocessing":
        """The preprocessing of torchvision's weights, such as "ResNet50_Weights.IMAGENET1K_V2".

        Raises:
            VirtualPoolError: there are no such weights, or they are not for classification.
        """
        found = _weights(weights) if isinstance(weights, str) else weights
        preset = found.transforms()
        if not is_for_classification(preset):
            raise VirtualPoolError(
                f"{weights}: these weights are not for classification; "
                "give a Preprocessing(size=..., mean=..., std=...) instead."
            )
        return cls(
            size=preset.crop_size[0],
            resize=preset.resize_size[0],
            mean=_colour(preset.mean),
            std=_colour(preset.std),
            augmentation="resized crop",
            interpolation=preset.interpolation.value,
        )

    def pixels(self, image: Image, *, training: bool) -> Tensor:
        """An image as a (3, size, size) tensor of bytes; a resized crop has been drawn already.

        Raises:
            VirtualPoolError: it has values that cannot be scaled to bytes, or is so long and narrow
                that it would be too large when resized.
        """
        image = in_colour(image)
        _check_shape(image, self.resize or self.size)
        mode = InterpolationMode(self.interpolation)
        if training and self.augmentation == "resized crop":
            image = RandomResizedCrop(self.size, interpolation=mode)(image)
        else:
            image = CenterCrop(self.size)(Resize(self.resize or self.size, mode)(image))
        return transforms.pil_to_tensor(image)

    def augmented(self, images: Tensor) -> Tensor:
        """The rest of the augmentation, on a batch of bytes (N, 3, H, W), drawn image by image."""
        if self.augmentation == "crop":
            images = _shifted(images, CROP_PADDING)
        if self.augmentation == "none":
            return images
        flipped = torch.rand(len(images), 1, 1, 1) < 0.5
        return torch.where(flipped, images.flip(-1), images)

    def normalised(self, images: Tensor) -> Tensor:
        """A batch of bytes (N, 3, H, W) as normalised float32, channels last."""
        images = images.contiguous(memory_format=torch.channels_last)
        scaled = transforms.to_dtype(images, torch.float32, scale=True)
        return transforms.normalize(scaled, list(self.mean), list(self.std), inplace=True)


CIFAR10 = Preprocessing(32, mean=CIFAR10_MEAN, std=CIFAR10_STD, augmentation="crop")
CIFAR100 = Preprocessing(
    32, mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762), augmentation="crop"
)


def _check_shape(image: Image, side: int) -> None:
    """Refuses an image that takes too much memory once its shorter side is resized to `side`."""
    shorter, longer = sorted(image.size)
    if side * side * longer / shorter > LARGEST:
        raise VirtualPoolError(
            f"it has {image.width} x {image.height} pixels and would be too large if resized to a "
            f"shorter side of {side}"
        )


def _colour(values: list[float]) -> Colour:
    red, green, blue = values
    return red, green, blue


def _weights(name: str) -> Any:
    try:
        return get_weight(name)
    except (AttributeError, KeyError, ValueError) as error:
        raise VirtualPoolError(
            f"torchvision has no weights {name!r}; "
            'write them as in "ResNet50_Weights.IMAGENET1K_V2".'
        ) from error


def _shifted(images: Tensor, padding: int) -> Tensor:
    count, _, height, width = images.shape
    rows = torch.randint(2 * padding + 1, (count, 1)) + torch.arange(height)
    columns = torch.randint(2 * padding + 1, (count, 1)) + torch.arange(width)
    padded = pad(images, (padding,) * 4).permute(0, 2, 3, 1)
    each = torch.arange(count)[:, None, None]
    return padded[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
