"""The boxes that a detector finds, and the ones of them that another one finds too."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import box_iou

from virtualpool.errors import VirtualPoolError
from virtualpool.graph.inputs import map_tensors
from virtualpool.measure.bench import device_of

Found = dict[str, Tensor]
"""A detector's findings in an image, or the true ones: boxes, labels, and more."""


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


def as_sure_as(score: float, found: Found) -> Found:
    """The findings with a score of at least so much.

    >>> as_sure_as(0.5, {"boxes": torch.zeros(2, 4), "scores": torch.tensor([0.9, 0.4])})
    {'boxes': tensor([[0., 0., 0., 0.]]), 'scores': tensor([0.9000])}
    """
    kept = found["scores"] >= score
    return {name: values[kept] for name, values in found.items()}


def shared(one: Found, other: Found, overlap: float = 0.5) -> tuple[Tensor, Tensor]:
    """Which boxes two models agree on: of one class, each nearest to the other, and near enough.

    >>> labels, square = torch.tensor([1]), torch.tensor([[0.0, 0, 10, 10]])
    >>> both = torch.tensor([[0.0, 0, 10, 8], [20.0, 0, 30, 10]])
    >>> shared({"boxes": square, "labels": labels}, {"boxes": both, "labels": torch.tensor([1, 1])})
    (tensor([True]), tensor([ True, False]))

    Args:
        one: `boxes`, (N, 4), and `labels`, (N,).
        other: the same with M in place of N.
        overlap: from which part of their union on two boxes are near enough.

    Returns:
        (N,) and (M,) bool, with as many true in both.
    """
    overlaps = box_iou(one["boxes"], other["boxes"])
    overlaps = overlaps * (one["labels"][:, None] == other["labels"])
    mine, its = (torch.zeros(count, dtype=torch.bool) for count in overlaps.shape)
    if overlaps.numel():
        nearest, back = overlaps.argmax(1), overlaps.argmax(0)
        mine = (back[nearest] == torch.arange(len(mine))) & (overlaps.amax(1) >= overlap)
        its[nearest[mine]] = True
    return mine, its


def _check(model: nn.Module, outputs: Any, images: int) -> None:
    names = {"boxes", "scores", "labels"}
    is_list = isinstance(outputs, list) and len(outputs) == images
    if not is_list or not all(isinstance(it, dict) and names <= it.keys() for it in outputs):
        raise VirtualPoolError(
            f"{type(model).__name__} gives a {type(outputs).__name__}; a list with a dict of "
            "boxes, scores and labels for each image is expected, as torchvision's detectors give."
        )
