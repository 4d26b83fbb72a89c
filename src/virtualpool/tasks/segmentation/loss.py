"""The loss of a segmentation network by labels: `by_labels(batches, loss=PixelLoss(...))`."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from virtualpool.tasks.segmentation.found import logits_of
from virtualpool.tasks.segmentation.images import IGNORED

_AUXILIARY = 0.4


@dataclass(frozen=True)
class PixelLoss:
    """The cross entropy of logits and masks, the mean over all pixels that count.

    The loss of torchvision's auxiliary outputs is added with a weight of 0.4, as in their training.

    Attributes:
        class_weights: of each class, such as `Segmentation.class_weights()`; its length is the
            number of classes.
        ignored: the number of pixels that do not count.

    >>> batch = torch.zeros(1, 2, 4, 4), torch.ones(1, 4, 4).long()
    >>> round(float(PixelLoss((1.0, 1.0))(nn.Identity(), batch)), 4)
    0.6931
    """

    class_weights: tuple[float, ...]
    ignored: int = IGNORED

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        """The loss of a model on a batch of images and masks.

        Raises:
            VirtualPoolError: the model gives other logits.
        """
        images, masks = batch
        outputs = model(images)
        loss = self._of(outputs, masks)
        if isinstance(outputs, dict) and "aux" in outputs:
            loss = loss + _AUXILIARY * self._of({"out": outputs["aux"]}, masks)
        return loss

    def _of(self, outputs: Any, masks: Tensor) -> Tensor:
        logits = logits_of(outputs, len(self.class_weights), masks.shape[-2:]).float()
        weights = torch.tensor(self.class_weights, device=logits.device)
        return functional.cross_entropy(logits, masks, weights, ignore_index=self.ignored)
