"""The unmodified model at half resolution: the practical limit of pooling's savings."""

from typing import Any

from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.graph.image_scale import resize_transform, transforms_of
from virtualpool.graph.inputs import as_call, map_tensors, tensors
from virtualpool.graph.running import evaluating, run
from virtualpool.graph.state import copy_of


def at_half_resolution(model: nn.Module, example_inputs: Any) -> tuple[nn.Module, Any]:
    """A model and its inputs at half resolution, rounded up, for timing.

    On them a convolution has a quarter of its work, as it has with its stride doubled, and nothing
    is interpolated.

    Args:
        model: the unmodified model; it is not changed.
        example_inputs: a tensor, a tuple of positional or a dict of keyword arguments. Images are
            the tensors of floats of shape (N, C, H, W), or (C, H, W) in a list.

    Returns:
        The model with halved inputs; for a detector of torchvision, which resizes images by itself,
        a copy that resizes them to half of that, with the inputs as they are.

    Raises:
        VirtualPoolError: there are no images, or the model does not run on such small ones.

    >>> import torch
    >>> _, images = at_half_resolution(nn.Conv2d(3, 8, 3), torch.zeros(1, 3, 224, 299))
    >>> images.shape
    torch.Size([1, 3, 112, 150])
    """
    if not any(_is_image(tensor) for tensor in tensors(example_inputs)):
        raise VirtualPoolError(
            "The example inputs hold no image to resize to half resolution; an image is a "
            "tensor of floats of shape (N, C, H, W), or (C, H, W) in a list."
        )
    if transforms_of(model):
        model = copy_of(model)
        for transform in transforms_of(model):
            resize_transform(transform, _half)
    else:
        example_inputs = map_tensors(_halved, example_inputs)
    with evaluating(model):
        run(model, as_call(example_inputs))
    return model, example_inputs


def _is_image(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.ndim in (3, 4)


def _halved(tensor: Tensor) -> Tensor:
    return tensor[..., ::2, ::2].contiguous() if _is_image(tensor) else tensor


def _half(side: int) -> int:
    return -(-side // 2)
