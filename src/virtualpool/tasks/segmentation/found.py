"""The logits and the masks that a segmentation network finds."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.graph.outputs import answer_in
from virtualpool.graph.running import evaluating
from virtualpool.measure.bench import device_of
from virtualpool.measure.masks import at_size


def found_in(images: Tensor, model: nn.Module, classes: int, size: Sequence[int]) -> Tensor:
    """The masks that a network finds, (N, *size) int64, on the CPU.

    The model runs where its parameters are, in eval mode.

    Args:
        images: (N, 3, H, W), normalised as the network wants them.
        model: gives logits of as many classes.
        classes: how many there are.
        size: rows and columns of the masks, to which smaller logits are enlarged.

    Raises:
        VirtualPoolError: the model gives something else.

    >>> found_in(torch.tensor([[[[0.0, 1.0]], [[1.0, 0.0]]]]), nn.Identity(), 2, (1, 2))
    tensor([[[1, 0]]])
    """
    with evaluating(model), torch.inference_mode():
        outputs = model(images.to(device_of(model), memory_format=torch.channels_last))
        return logits_of(outputs, classes, size).argmax(1).cpu()


def logits_of(outputs: Any, classes: int, size: Sequence[int]) -> Tensor:
    """The logits (N, classes, H, W) in a network's outputs, at the size of its masks.

    Torchvision's networks give them as "out", Hugging Face's as `logits`.

    Raises:
        VirtualPoolError: there are none, or of another number of classes.
    """
    logits = logits_in(outputs)
    if logits.shape[1] != classes:
        raise VirtualPoolError(
            f"The model gives logits of {logits.shape[1]} classes, and the data have {classes}; "
            "give a model with a channel for each class of the data."
        )
    return at_size(logits, size)


def logits_in(outputs: Any) -> Tensor:
    """The logits (N, classes, h, w) in a network's outputs, as they are.

    Raises:
        VirtualPoolError: there are none.
    """
    logits = answer_in(outputs)
    if not isinstance(logits, Tensor) or logits.ndim != 4:
        given = tuple(logits.shape) if isinstance(logits, Tensor) else type(outputs).__name__
        raise VirtualPoolError(
            f"The model gives {given}; segmentation expects logits of shape (N, classes, H, W), by "
            'themselves, as `logits` or as "out" of a dict. Wrap it so that it gives these.'
        )
    if logits.shape[1] == 1:
        raise VirtualPoolError(
            "The model gives one channel; segmentation expects one for each class, and the ground "
            "is a class, too. Wrap it so that it gives torch.cat([-x, x], 1) of its logits x."
        )
    return logits
