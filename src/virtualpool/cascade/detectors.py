"""Two detectors' boxes: how sure the fast one is of an image, and how many boxes it misses."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar, Literal

import torch
from torch import Tensor

from virtualpool.cascade.judged import Judged
from virtualpool.measure.boxes import Found, as_sure_as, shared

COUNTED = 0.5
"""The least score of a box that counts."""


@dataclass(frozen=True)
class Detections:
    """The findings of two detectors in the same images.

    Attributes:
        fast: of the fast detector, one an image.
        slow: of the original.
        labels: the true boxes; None where there are none, so that the original's count.
    """

    score: ClassVar[Literal["F1"]] = "F1"
    fast: Sequence[Found]
    slow: Sequence[Found]
    labels: Sequence[Found] | None = None

    @classmethod
    def joined(cls, parts: Sequence["Detections"]) -> "Detections":
        """Those of several batches."""
        labels = [part.labels for part in parts if part.labels is not None]
        fast, slow = ([*chain(*(getattr(it, name) for it in parts))] for name in ("fast", "slow"))
        return cls(fast, slow, [*chain(*labels)] if labels else None)

    def __len__(self) -> int:
        return len(self.fast)

    @property
    def testing(self) -> int:
        """How many images choose the threshold: all, for there is nothing else to fit."""
        return len(self)

    def fitted(self) -> tuple[float, "Detections"]:
        """A temperature of 1, and all images."""
        return 1.0, self

    def judged(self, temperature: float) -> Judged:
        """Image by image: the certainty, and the difference of both detectors' F1."""
        slow = [as_sure_as(COUNTED, found) for found in self.slow]
        truth = slow if self.labels is None else [_counted(each) for each in self.labels]
        change = torch.tensor(
            [
                f1(as_sure_as(COUNTED, fast), true) - f1(other, true)
                for fast, other, true in zip(self.fast, slow, truth, strict=True)
            ]
        )
        return Judged(certainty(self.fast), (-change).clamp(min=0), change.clamp(min=0))


def certainty(found: Sequence[Found]) -> Tensor:
    """How sure a detector is of each image, (N,) in (0, 1].

    A box with the score s is wrongly kept or wrongly left out with probability min(s, 1 - s), if
    scores are probabilities. With the sum d of these the certainty is 1 / (1 + d).

    >>> certainty([{"scores": torch.tensor([0.75, 0.25])}, {"scores": torch.tensor([])}])
    tensor([0.6667, 1.0000])
    """
    doubts = [torch.minimum(each["scores"], 1 - each["scores"]).sum() for each in found]
    return 1 / (1 + torch.stack(doubts).float()) if doubts else torch.zeros(0)


def f1(found: Found, truth: Found) -> float:
    """Twice the boxes that both have, of all boxes of both; 1 where neither has any.

    >>> box = {"boxes": torch.tensor([[0.0, 0, 9, 9]]), "labels": torch.tensor([1])}
    >>> none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0)}
    >>> f1(box, box), f1(box, none), f1(none, none)
    (1.0, 0.0, 1.0)
    """
    every = len(found["boxes"]) + len(truth["boxes"])
    return 2 * int(shared(found, truth)[0].sum()) / every if every else 1.0


def _counted(truth: Found) -> Found:
    """The true boxes without those that an evaluation ignores."""
    ignored = truth.get("ignored")
    kept = slice(None) if ignored is None else ~ignored.bool()
    return {name: truth[name][kept] for name in ("boxes", "labels")}
