"""The unmodified model on images of half the side: the practical limit of what pooling can save."""

from typing import Any

from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.inputs import as_call, map_tensors, tensors
from virtualpool.trace import evaluating, run


def half_inputs(model: nn.Module, example_inputs: Any) -> Any:
    """Example inputs with images of half the side, rounded up, that a model runs on.

    On them a convolution has a quarter of its work, as it has with its stride doubled, and nothing
    is interpolated. They are for timing: what the model then says is another question.

    Args:
        model: the unmodified model.
        example_inputs: see `virtualpool.inputs`. Images are the tensors of floats that have two
            axes and more besides the channels: (N, C, H, W), or (C, H, W) in a list.

    Raises:
        VirtualPoolError: there are no images, or the model does not run on such small ones.

    >>> import torch
    >>> half_inputs(nn.Conv2d(3, 8, 3), torch.zeros(1, 3, 224, 299)).shape
    torch.Size([1, 3, 112, 150])
    """
    if not any(_is_image(tensor) for tensor in tensors(example_inputs)):
        raise VirtualPoolError(
            "The example inputs hold no image of which to take half the side; an image is a "
            "tensor of floats of shape (N, C, H, W), or (C, H, W) in a list."
        )
    halved = map_tensors(_halved, example_inputs)
    with evaluating(model):
        run(model, as_call(halved))
    return halved


def _is_image(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.ndim in (3, 4)


def _halved(tensor: Tensor) -> Tensor:
    return tensor[..., ::2, ::2].contiguous() if _is_image(tensor) else tensor
