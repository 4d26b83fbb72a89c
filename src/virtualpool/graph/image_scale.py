"""The image scale: a model that sees its images at another size than they are given in."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from virtualpool.graph.inputs import Call, map_tensors, tensors
from virtualpool.graph.state import copy_of
from virtualpool.plan import plan_of, unwrapped
from virtualpool.torch_private import (
    forward_hooks_off,
    forward_pre_hooks,
    remove_forward_hooks,
)

Axes = tuple[int, ...]


@dataclass(frozen=True)
class Resizing:
    """Resizes the images of a model's call as they enter, as a hook of the model.

    A hook and no module around the model: names stay, and whoever asks for a layer finds it.

    Attributes:
        scale: the image scale.
        sizes: of the last call, the sizes that images were resized to, and the ones that they had.
    """

    scale: float
    sizes: dict[Axes, Axes] = field(default_factory=dict, repr=False)

    def __call__(self, model: nn.Module, *given: Any) -> Call:
        """The call with its images resized."""
        positional, keywords = small = resized(given, self.scale)
        self.sizes.clear()
        for one, other in zip(tensors(small), tensors(given), strict=True):
            if is_image(other):
                self.sizes[tuple(one.shape[2:])] = tuple(other.shape[2:])
        return positional, keywords


@dataclass(frozen=True)
class Restoring:
    """Enlarges a model's outputs that have a value at each pixel to the size of its images.

    So a network for segmentation or depth gives maps of one size at every image scale.
    """

    sizes: dict[Axes, Axes] = field(repr=False)

    @torch.compiler.disable
    def __call__(self, model: nn.Module, *call: Any) -> Any:
        """The outputs, the last part of the call: maps (N, C, H, W) of floats, bilinear."""
        return map_tensors(self._restored, call[-1])

    def _restored(self, output: Tensor) -> Tensor:
        size = self.sizes.get(tuple(output.shape[2:])) if output.ndim == 4 else None
        if size is None or not output.is_floating_point():
            return output
        return functional.interpolate(output, size, mode="bilinear")


def attach(model: nn.Module, scale: float) -> Callable[[], object]:
    """Makes a model resize its images itself, and maps of their size back; gives what ends that.

    A detector of torchvision does so anyway, to sizes of its own: these are multiplied by the
    scale, so its boxes are where they were.
    """
    if found := transforms_of(model):
        before = [dict(vars(each)) for each in found]
        for transform in found:
            resize_transform(transform, partial(_length, scale))
        return lambda: [vars(it).update(was) for it, was in zip(found, before, strict=True)]
    resizing = Resizing(scale)
    handles = [
        model.register_forward_pre_hook(resizing, prepend=True, with_kwargs=True),
        model.register_forward_hook(Restoring(resizing.sizes)),  # pyright: ignore[reportArgumentType]
    ]
    return lambda: [handle.remove() for handle in handles]


@contextmanager
def at_scale(model: nn.Module, scale: float) -> Iterator[None]:
    """Has a model see its images at an image scale, within."""
    end = attach(model, scale) if scale != 1 else lambda: None
    try:
        yield
    finally:
        end()


def scale_of(model: nn.Module) -> float:
    """The image scale to which a model, or the one in a wrapper such as DDP, resizes its images.

    It is 1 for one that takes images that are small already.

    >>> scale_of(nn.Identity())
    1.0
    """
    model = unwrapped(model)
    hook = _resizing_of(model)
    if hook is None and transforms_of(model):
        return plan_of(model).image_scale
    return 1.0 if hook is None else hook.scale


def relative_scale(model: nn.Module, original: nn.Module) -> float:
    """The image scale of a model, relative to the one that the original has itself."""
    return scale_of(model) / scale_of(original)


def seen_by(model: nn.Module, inputs: Any) -> Any:
    """Inputs of a model as they are once it has resized their images."""
    hook = _resizing_of(model)
    return inputs if hook is None else resized(inputs, hook.scale)


def given_to(model: nn.Module, seen: Any) -> Any:
    """Inputs that a model makes some others of (`seen_by`), but for rounding of their size."""
    hook = _resizing_of(model)
    return seen if hook is None else resized(seen, 1 / hook.scale)


def without_resizing(model: nn.Module, inputs: Any) -> tuple[nn.Module, Any]:
    """A copy of a model that resizes nothing itself, and inputs that are resized already."""
    copied = copy_of(model)
    remove_forward_hooks(copied, (Resizing, Restoring))
    return copied, seen_by(model, inputs)


@contextmanager
def taking_resized(model: nn.Module) -> Iterator[None]:
    """Within, a model resizes nothing: it is given the images that it else makes itself."""
    with forward_hooks_off(model, (Resizing, Restoring)):
        yield


def resized(inputs: Any, scale: float) -> Any:
    """Inputs with images at an image scale: bilinear, with antialiasing.

    Args:
        inputs: images are the tensors of shape (N, C, H, W), of floats or of bytes; all else stays.
            So does an axis of length 1, as a factor for each channel has.
        scale: the side of the result, relative to theirs: round(`scale` * H), round(`scale` * W).

    >>> resized((torch.zeros(1, 3, 32, 25), 7), 0.625)[0].shape
    torch.Size([1, 3, 20, 16])
    """
    return map_tensors(partial(_resized, scale), inputs)


def takes_images(model: nn.Module, inputs: Any) -> bool:
    """Whether a model has images among its inputs that can be resized."""
    return bool(transforms_of(model)) or any(map(is_image, tensors(inputs)))


def sides(model: nn.Module, inputs: Any) -> list[int]:
    """The lengths in pixels that an image scale changes: of the images, or of a detector's sizes.

    >>> sides(nn.Identity(), (torch.zeros(1, 3, 32, 25), torch.zeros(1, 3, 1, 1)))
    [32, 25]
    """
    images = [length for each in tensors(inputs) if is_image(each) for length in each.shape[2:]]
    found = [length for each in transforms_of(model) for length in each.min_size] or images
    return [length for length in found if length != 1]


def is_image(tensor: Tensor) -> bool:
    """Whether a tensor is a batch of images: (N, C, H, W), of floats or of bytes."""
    return tensor.ndim == 4 and (tensor.is_floating_point() or tensor.dtype is torch.uint8)


def transforms_of(model: nn.Module) -> list[Any]:
    """The part of a torchvision detector that resizes the images; nothing in other models."""
    # By name: importing torchvision is not cheap.
    return [it for it in model.modules() if type(it).__name__ == "GeneralizedRCNNTransform"]


def resize_transform(transform: Any, change: Callable[[int], int]) -> None:
    """Changes the sizes, in pixels, to which a detector resizes its images."""
    transform.min_size = tuple(map(change, transform.min_size))
    transform.max_size = change(transform.max_size)
    if transform.fixed_size is not None:
        transform.fixed_size = tuple(map(change, transform.fixed_size))


def _resizing_of(model: nn.Module) -> Resizing | None:
    return next((it for it in forward_pre_hooks(model) if isinstance(it, Resizing)), None)


def _resized(scale: float, tensor: Tensor) -> Tensor:
    if not is_image(tensor):
        return tensor
    size = [length if length == 1 else _length(scale, length) for length in tensor.shape[2:]]
    x = antialiased(tensor, size=size)
    return (x if tensor.is_floating_point() else x.round()).to(tensor.dtype)


def antialiased(x: Tensor, **sizes: Any) -> Tensor:
    """A tensor resized bilinearly with antialiasing, in float32, or float64 if it is.

    Args:
        x: shape (N, C, H, W).
        sizes: `size` or `scale_factor` of PyTorch's `interpolate`.
    """
    # No device resizes all dtypes with antialiasing, and bytes are to be rounded alike on all.
    exact = x if x.dtype in (torch.float32, torch.float64) else x.float()
    return functional.interpolate(exact, **sizes, mode="bilinear", antialias=True)


def _length(scale: float, length: int) -> int:
    return max(1, round(scale * length))
