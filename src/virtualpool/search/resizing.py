"""Whether a model does the same task on smaller images, so that both can be judged alike."""

from typing import Any

import torch
from torch import nn

from virtualpool.errors import VirtualPoolError
from virtualpool.graph import random_numbers
from virtualpool.graph.image_scale import at_scale, is_image, resized, transforms_of
from virtualpool.graph.inputs import as_call, tensors
from virtualpool.graph.running import evaluating, run
from virtualpool.graph.state import copy_of
from virtualpool.measure.bench import repeated


def check_resizable(model: nn.Module, example_inputs: Any) -> None:
    """Refuses models that cannot be given smaller images: detectors, and models without images."""
    if any(map(is_image, tensors(example_inputs))) and not transforms_of(model):
        return
    raise VirtualPoolError(
        f"{type(model).__name__} cannot be compared on smaller images: it takes no batch of "
        "images, floats or bytes (N, C, H, W). A detector resizes a list of images by itself and "
        "needs smaller anchors too: train one as recipes/faster_rcnn_vgg16/train.py does by --side"
        ", and time it beside the pooled ones."
    )


def refusal(model: nn.Module, example_inputs: Any, side: float) -> str | None:
    """Why a model does another task on smaller images than on these; None where it does not.

    It must run on them, also in training, and its output must have the same shape once maps of
    the images' size are enlarged to theirs: otherwise its score would be another measure.
    """
    given, call = resized(example_inputs, side), as_call(example_inputs)
    try:
        with evaluating(model):
            before = _shapes(run(model, call))
            run(model, as_call(given))  # its error names the size of the smaller images
            with at_scale(model, side):
                after = _shapes(run(model, call))
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
