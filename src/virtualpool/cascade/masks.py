"""Two segmentation networks' masks: how sure the fast one is of an image, and how it is judged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from virtualpool.cascade.confidence import margin
from virtualpool.cascade.judged import Judged
from virtualpool.measure.masks import IGNORED, at_size, confusion, unions


@dataclass(frozen=True)
class Masks:
    """How two segmentation networks did in the same images.

    Attributes:
        sure: (N,) how sure the fast one is of each image.
        fast: (N,) the mean IoU of its mask of an image.
        slow: (N,) of the original's.
        labels: whether there were true masks; otherwise the original's count as true.
    """

    score: ClassVar[Literal["IoU"]] = "IoU"
    sure: Tensor
    fast: Tensor
    slow: Tensor
    labels: bool | None = None

    @classmethod
    def of(
        cls, fast: Tensor, slow: Tensor, truth: Tensor | None, ignored: int = IGNORED
    ) -> "Masks":
        """Judges logits (N, classes, h, w) of a batch by masks (N, H, W), if there are any.

        >>> logits = torch.tensor([[[[2.0, 0.0]], [[0.0, 2.0]]]])
        >>> found = Masks.of(logits, -logits, torch.tensor([[[0, 1]]]))
        >>> found.fast.tolist(), found.slow.tolist()
        ([1.0], [0.0])
        """
        size = slow.shape[-2:] if truth is None else truth.shape[-2:]
        found, theirs = (at_size(each, size).argmax(1) for each in (fast, slow))
        true = theirs if truth is None else truth.to(theirs.device)
        ours, other = (mean_iou(each, true, slow.shape[1], ignored) for each in (found, theirs))
        return cls(certainty(fast).cpu(), ours, other, None if truth is None else True)

    @classmethod
    def joined(cls, parts: Sequence["Masks"]) -> "Masks":
        """Those of several batches."""
        sure, fast, slow = (
            torch.cat([getattr(part, name) for part in parts]) for name in ("sure", "fast", "slow")
        )
        return cls(sure, fast, slow, parts[0].labels)

    def __len__(self) -> int:
        return len(self.fast)

    @property
    def testing(self) -> int:
        """How many images choose the threshold: all, for there is nothing else to fit."""
        return len(self)

    def fitted(self) -> tuple[float, "Masks"]:
        """A temperature of 1, and all images."""
        return 1.0, self

    def judged(self, temperature: float) -> Judged:
        """Image by image: the certainty, and the difference of both networks' mean IoU."""
        change = self.fast - self.slow
        return Judged(self.sure, (-change).clamp(min=0), change.clamp(min=0))


def certainty(logits: Tensor) -> Tensor:
    """How sure a network is of each image, (N,): the mean over its pixels of the softmax margin.

    >>> certainty(torch.tensor([[[[9.0, 1.0]], [[0.0, 1.0]]]])).round(decimals=2)
    tensor([0.5000])
    """
    return margin(logits, 1.0).mean((1, 2))


def mean_iou(found: Tensor, true: Tensor, classes: int, ignored: int) -> Tensor:
    """Of each image the mean, over the classes that are in it, of intersection over union.

    Args:
        found: (N, H, W) int64.
        true: (N, H, W) int64; pixels with a number that is no class's do not count.
        classes: how many there are.
        ignored: pixels with this number in `true` do not count either.

    Returns:
        (N,) float64 in [0, 1]; 1 where no pixel counts.

    >>> mean_iou(torch.tensor([[[0, 1, 1, 1]]]), torch.tensor([[[0, 0, 1, 9]]]), 2, 9)
    tensor([0.5000], dtype=torch.float64)
    """
    is_class = (true >= 0) & (true < classes)
    matrices = confusion(found, true.where(is_class, ignored), classes, ignored).cpu()
    in_it = matrices.sum(-1) > 0
    scores = torch.where(in_it, unions(matrices), 0.0).sum(-1)
    return torch.where(in_it.any(-1), scores / in_it.sum(-1).clamp(min=1), 1.0)
