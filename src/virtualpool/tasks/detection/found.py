"""The boxes that a detector finds."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.graph.inputs import map_tensors
from virtualpool.measure.bench import device_of
from virtualpool.measure.boxes import Found


def found_in(images: Sequence[Tensor], model: nn.Module) -> list[Found]:
    """A detector's findings in each image, on the CPU.

    The model runs where its parameters are, in the mode that it is in.

    Args:
        images: (3, H, W) in [0, 1], of any sizes.
        model: is called with a list of them, as torchvision's detectors are.

    Raises:
        VirtualPoolError: it cannot be called like that, or gives something else than boxes, scores
            and labels.
    """
    if not images:
        return []
    device = device_of(model)
    try:
        outputs = model([image.to(device) for image in images])
    except (TypeError, AttributeError) as error:
        raise VirtualPoolError(
            f"{type(model).__name__} cannot be called with a list of images ({error!s:.200}); a "
            "detector is expected that is called as torchvision's are."
        ) from error
    _check(model, outputs, len(images))
    return map_tensors(Tensor.cpu, outputs)


def _check(model: nn.Module, outputs: Any, images: int) -> None:
    names = {"boxes", "scores", "labels"}
    is_list = isinstance(outputs, list) and len(outputs) == images
    if not is_list or not all(isinstance(it, dict) and names <= it.keys() for it in outputs):
        raise VirtualPoolError(
            f"{type(model).__name__} gives a {type(outputs).__name__}; a list with a dict of "
            "boxes, scores and labels for each image is expected, as torchvision's detectors give."
        )
