"""Two models' masks in some images, as the pictures of a run's report."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image
from torch import Tensor, nn

from virtualpool.tasks.pictures import data_uri, spread
from virtualpool.tasks.segmentation.drawing import coloured, differences, legend
from virtualpool.tasks.segmentation.found import found_in
from virtualpool.tasks.segmentation.images import Images

if TYPE_CHECKING:
    from virtualpool.tasks.segmentation import Segmentation

IMAGES = 4
_WIDE = 480
"""Wider pictures are made so wide, in pixels."""


def illustrated(models: dict[str, nn.Module], data: "Segmentation") -> dict[str, Any]:
    """The masks of the original and a pooled model in some test images, for `virtualpool.report`.

    Args:
        models: the original and the pooled one, by their names for people.
        data: of whose test images a few are drawn, from all over.

    Returns:
        A JSON-able value: a title, a caption, a legend, and rows of pictures, each a data URI.
    """
    seen = [*_seen(models, data)]
    names = legend([mask for _, _, masks in seen for mask in masks.values()], data.classes)
    return {
        "title": "Masks of both models",
        "caption": (
            "Each pixel in the colour of its class, and of the difference those at which the two "
            "models find another one."
        ),
        "legend": [{"name": name, "colour": colour} for name, colour in names.items()],
        "rows": [_row(*each, data) for each in seen],
    }


def _seen(
    models: dict[str, nn.Module], data: "Segmentation"
) -> Iterator[tuple[str, Tensor, dict[str, Tensor]]]:
    """File, image and masks, image by image; one that cannot be read is left out."""
    split = data.splits["test"]
    places = spread(range(len(split.pairs)), IMAGES)
    given = split, data.classes, data.preparation
    images = Images(*given, training=False, ignored=data.ignored, indices=places)
    for index, place in enumerate(places):
        example = images[index]
        if example is None:
            continue
        image, truth = example
        masks = {
            name: found_in(image[None], model, len(data.classes), truth.shape)[0]
            for name, model in models.items()
        }
        pair = split.pairs[place]
        yield pair.image.name, image, ({"truth": truth} if pair.mask else {}) | masks


def _row(
    name: str, image: Tensor, masks: dict[str, Tensor], data: "Segmentation"
) -> dict[str, Any]:
    original, pooled = [*masks.values()][-2:]
    drawn = {name: coloured(mask, len(data.classes)) for name, mask in masks.items()}
    alike = float((original == pooled).float().mean())
    return {
        "title": f"{name}: both models alike at {100 * alike:.1f} % of pixels",
        "pictures": [
            {"title": "image", "data": _photograph(data.preparation.as_bytes(image))},
            *({"title": title, "data": _flat(picture)} for title, picture in drawn.items()),
            {"title": "difference", "data": _flat(differences(original, pooled))},
        ],
    }


def _photograph(pixels: Tensor) -> str:
    def write(file: BinaryIO) -> None:
        _small(pixels, Image.Resampling.BILINEAR).save(file, "webp", quality=75)

    return data_uri("webp", write)


def _flat(pixels: Tensor) -> str:
    """A picture of few colours, kept as they are."""

    def write(file: BinaryIO) -> None:
        _small(pixels, Image.Resampling.NEAREST).quantize(256).save(file, "png", optimize=True)

    return data_uri("png", write)


def _small(pixels: Tensor, resampling: Image.Resampling) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(pixels.numpy()))
    wide, high = picture.size
    if wide <= _WIDE:
        return picture
    return picture.resize((_WIDE, max(1, round(_WIDE * high / wide))), resampling)
