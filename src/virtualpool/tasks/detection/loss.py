"""The loss of a detector, for fine-tuning: `by_labels(batches, loss=detector_loss)`."""

from typing import Any

import torch
from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.tasks.detection.classes import class_count
from virtualpool.tasks.detection.precision import full_precision_boxes


def detector_loss(model: nn.Module, batch: Any) -> Tensor:
    """The sum of the losses that a detector of torchvision gives in training.

    Args:
        model: a detector in training mode.
        batch: a list of (3, H, W) images and a list of targets, dicts with `boxes` of shape (N, 4)
            and `labels` of shape (N,); N may be 0.

    Returns:
        A scalar that carries gradients.

    Raises:
        VirtualPoolError: the model gives no dict of losses, boxes or labels have another shape, or
            the model has too few classes for a label.
    """
    images, targets = batch
    _check_shapes(targets)
    _check_labels(model, targets)
    with full_precision_boxes(model):
        losses = model(images, targets)
    if not isinstance(losses, dict) or not all(isinstance(it, Tensor) for it in losses.values()):
        raise VirtualPoolError(
            f"{type(model).__name__} gives a {type(losses).__name__} in training; a dict of losses "
            "is expected, as torchvision's detectors give. For another model give a loss of your "
            "own: by_labels(batches, loss=...)."
        )
    return torch.stack([*losses.values()]).sum()


def _check_shapes(targets: Any) -> None:
    for place, target in enumerate(targets):
        boxes, labels = tuple(target["boxes"].shape), tuple(target["labels"].shape)
        if len(labels) != 1 or boxes != (*labels, 4):
            raise VirtualPoolError(
                f"Target {place} of a batch has boxes of shape {boxes} and labels of shape "
                f"{labels}; (N, 4) and (N,) are expected. An image without boxes has "
                "torch.zeros(0, 4) and torch.zeros(0, dtype=torch.int64)."
            )


def _check_labels(model: nn.Module, targets: Any) -> None:
    count = class_count(model)
    labels = [int(target["labels"].max()) for target in targets if len(target["labels"])]
    if count is not None and max(labels, default=0) >= count:
        raise VirtualPoolError(
            f"A box has the label {max(labels)}, and {type(model).__name__} has {count} classes "
            "with the background, which is 0; build it for as many classes as the data has."
        )
