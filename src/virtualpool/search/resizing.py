"""Images of a part of their side, made before they enter a model or by the model itself."""

from typing import Any

import torch
from torch import nn

from virtualpool.errors import VirtualPoolError
from virtualpool.graph import image_scale, random_numbers
from virtualpool.graph.inputs import as_call, tensors
from virtualpool.graph.running import evaluating, run
from virtualpool.graph.state import copy_of
from virtualpool.measure.bench import repeated
from virtualpool.measure.half_resolution import resizing


def resized(model: nn.Module, side: float) -> nn.Module:
    """A copy of a model that takes images as the model does, and sees a part of their side.

    It resizes each image by itself, bilinearly with antialiasing, to round(`side` * H) by
    round(`side` * W), so training and judging do the same with the copy, on the same
    data. It keeps the model's class and the names of its parameters: its state loads into the
    model, and a file of it by `virtualpool.save` is a file of the model, without the resizing.

    Args:
        model: takes images, tensors of floats of shape (N, C, H, W); it is not changed.
        side: the share of the images' side that the copy sees, between 0 and 1.

    Raises:
        VirtualPoolError: `side` is out of range.

    >>> model = nn.Conv2d(3, 8, 3, padding=1)
    >>> half = resized(model, 0.5)
    >>> half(torch.zeros(2, 3, 224, 300)).shape
    torch.Size([2, 8, 112, 150])
    >>> list(half.state_dict()) == list(model.state_dict())
    True
    """
    if not 0 < side < 1:
        raise VirtualPoolError(f"side is {side}; give a part of the images' side, such as 0.5.")
    copied = copy_of(model)
    image_scale.Resizing(side).attach(copied)
    return copied


def shrunk(example_inputs: Any, side: float) -> Any:
    """Example inputs with images, floats of shape (N, C, H, W), of a part of their side.

    >>> shrunk((torch.zeros(1, 3, 32, 25), 7), 0.625)[0].shape
    torch.Size([1, 3, 20, 16])
    """
    return image_scale.resized(example_inputs, side)


def check_resizable(model: nn.Module, example_inputs: Any) -> None:
    """Refuses models that cannot be given smaller images: detectors, and models without images."""
    if any(map(image_scale.is_image, tensors(example_inputs))) and not resizing(model):
        return
    raise VirtualPoolError(
        f"{type(model).__name__} cannot be compared on smaller images: it takes no batch of "
        "images, floats of shape (N, C, H, W). A detector resizes a list of images by itself and "
        "needs smaller anchors too: train one as recipes/faster_rcnn_vgg16/train.py does by --side"
        ", and time it beside the pooled ones."
    )


def refusal(model: nn.Module, example_inputs: Any, side: float) -> str | None:
    """Why a model does another task on smaller images than on these; None where it does not.

    It must run on them, also in training, and its output must have the same shape: otherwise
    its score would be another measure.
    """
    given = shrunk(example_inputs, side)
    try:
        with evaluating(model):
            before, after = (_shapes(run(model, as_call(it))) for it in (example_inputs, given))
        if before != after:
            return (
                f"{type(model).__name__} gives {', '.join(after)} for images of {side:g} of the "
                f"side and {', '.join(before)} for whole ones, which cannot be judged alike."
            )
        with random_numbers.kept(), torch.no_grad():
            # Batch norm does not train on a single value, which one small image may leave.
            run(copy_of(model).train(), as_call(repeated(given, 2)))
    except VirtualPoolError as error:
        return str(error)
    return None


def _shapes(output: Any) -> list[str]:
    return [str(tuple(tensor.shape)) for tensor in tensors(output)]
