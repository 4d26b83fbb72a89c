"""The image scale: images of another size, made before they enter a model or as they do."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from virtualpool.graph.inputs import Call, map_tensors
from virtualpool.plan import unwrapped
from virtualpool.torch_private import forward_pre_hooks


@dataclass(frozen=True)
class Resizing:
    """Resizes the images of a model's call as they enter, as a hook of the model.

    A hook and no module around the model: names stay, and whoever asks for a layer finds it.
    """

    scale: float

    def __call__(self, model: nn.Module, *given: Any) -> Call:
        """The call with its images resized."""
        positional, keywords = resized(given, self.scale)
        return positional, keywords

    def attach(self, model: nn.Module) -> Any:
        """Makes the model resize before all else; gives the handle that ends it."""
        return model.register_forward_pre_hook(self, prepend=True, with_kwargs=True)


def resized(inputs: Any, scale: float) -> Any:
    """Inputs with images at an image scale: bilinear, with antialiasing.

    Args:
        inputs: images are the tensors of floats of shape (N, C, H, W); all else stays. So does an
            axis of length 1, as a factor for each channel has.
        scale: the side of the result, relative to theirs: round(`scale` * H), round(`scale` * W).

    >>> import torch
    >>> resized((torch.zeros(1, 3, 32, 25), 7), 0.625)[0].shape
    torch.Size([1, 3, 20, 16])
    """
    return map_tensors(lambda tensor: _resized(tensor, scale), inputs)


def scale_of(model: nn.Module) -> float:
    """The image scale to which a model, or the one in a wrapper such as DDP, resizes its images.

    >>> scale_of(nn.Identity())
    1.0
    """
    hooks = forward_pre_hooks(unwrapped(model))
    return next((hook.scale for hook in hooks if isinstance(hook, Resizing)), 1.0)


@contextmanager
def at_scale(model: nn.Module, scale: float) -> Iterator[None]:
    """Has a model see its images at an image scale, within."""
    if scale == 1:
        yield
        return
    handle = Resizing(scale).attach(model)
    try:
        yield
    finally:
        handle.remove()


def is_image(tensor: Tensor) -> bool:
    """Whether a tensor is a batch of images."""
    return tensor.is_floating_point() and tensor.ndim == 4


def _resized(tensor: Tensor, scale: float) -> Tensor:
    if not is_image(tensor):
        return tensor
    size = [length if length == 1 else max(1, round(scale * length)) for length in tensor.shape[2:]]
    return functional.interpolate(tensor, size, mode="bilinear", antialias=True)
