"""A model given an image scale, or refused it with the smallest one that it takes."""

import math
from typing import Any

from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.graph.image_scale import (
    at_scale,
    attach,
    is_image,
    resized,
    sides,
    takes_images,
)
from virtualpool.graph.inputs import as_call, tensors
from virtualpool.graph.running import evaluating, run
from virtualpool.graph.state import copy_of, state_kept
from virtualpool.plan import plan_of


def scaled_copy(model: nn.Module, example_inputs: Any, scale: float) -> nn.Module:
    """A copy of a model that resizes its images itself.

    Raises:
        VirtualPoolError: the model has another image scale, or does not take this one.
    """
    if (now := plan_of(model).image_scale) != 1:
        raise VirtualPoolError(
            f"The model has image scale {now:g}, and {scale:g} is asked for. Give "
            f"image_scale={now:g}, or begin with the unmodified model."
        )
    copied = copy_of(model)
    check_scale(copied, example_inputs, scale)
    attach(copied, scale)
    return copied


def check_scale(model: nn.Module, example_inputs: Any, scale: float) -> None:
    """Refuses an image scale that a network does not take, and says which one it does.

    Args:
        model: without an image scale.
        example_inputs: it runs on them.
        scale: to try.
    """
    name = type(model).__name__
    if not takes_images(model, example_inputs):
        raise VirtualPoolError(
            f"{name} has no images to resize to image_scale={scale:g} among its example inputs: no "
            "batch (N, C, H, W) of floats or bytes, and it is no detector of torchvision. Resize "
            "what it takes before you call it."
        )
    with evaluating(model), state_kept(model):
        run(model, as_call(example_inputs))
        if (error := _error(model, example_inputs, scale)) is None:
            return
        smallest = _smallest(model, example_inputs, scale)
    advice = (
        "It takes the size of the example alone: leave image_scale out."
        if smallest is None
        else f"The smallest image_scale that it takes here is {smallest:g}."
    )
    raise VirtualPoolError(
        f"{name} does not take image_scale={scale:g}{_sizes(example_inputs, scale)}: {error} "
        f"{advice}"
    )


def _error(model: nn.Module, inputs: Any, scale: float) -> str | None:
    if not all(round(scale * side) for side in sides(model, inputs)):
        return "A side has not even one pixel then."
    try:
        with at_scale(model, scale):
            run(model, as_call(inputs))
    except VirtualPoolError as error:
        return str(error.__cause__).split("\n")[0].rstrip(".") + "."
    return None


def _smallest(model: nn.Module, inputs: Any, scale: float) -> float | None:
    """By halves: the side, in pixels, that is too small and the one that is not come together."""
    side = max(_side(each) for each in tensors(inputs))
    low, high = min(round(scale * side), side), side
    while high - low > 1:
        middle = (low + high) // 2
        if _error(model, inputs, middle / side) is None:
            high = middle
        else:
            low = middle
    found = math.ceil(1000 * high / side) / 1000
    return found if found < 1 and _error(model, inputs, found) is None else None


def _side(tensor: Tensor) -> int:
    return max(tensor.shape[-2:]) if tensor.ndim in (3, 4) else 1


def _sizes(inputs: Any, scale: float) -> str:
    image = next((each for each in tensors(inputs) if is_image(each)), None)
    if image is None:
        return ""
    before, after = (tuple(each.shape[2:]) for each in (image, resized(image, scale)))
    return f", images of {after[0]} x {after[1]} in place of {before[0]} x {before[1]}"
