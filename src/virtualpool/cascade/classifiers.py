"""Two classifiers' logits: how sure the fast one is, and where it is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from virtualpool.cascade.confidence import classes_of, fitted_temperature, margin
from virtualpool.cascade.judged import Judged

FITTING = 20
"""Each image of so many fits the temperature, and no threshold."""


@dataclass(frozen=True)
class Outputs:
    """The outputs of two classifiers for the same images.

    Attributes:
        fast: (N, classes) logits of the fast model.
        slow: (N, classes) logits of the original.
        labels: (N,) integers; None where there are none, so that the original's classes count.
    """

    score: ClassVar[Literal["accuracy"]] = "accuracy"
    fast: Tensor
    slow: Tensor
    labels: Tensor | None = None

    @classmethod
    def joined(cls, parts: Sequence["Outputs"]) -> "Outputs":
        """Those of several batches."""
        labels = [part.labels for part in parts if part.labels is not None]
        fast, slow = (torch.cat([getattr(it, name) for it in parts]) for name in ("fast", "slow"))
        return cls(fast, slow, torch.cat(labels) if labels else None)

    def __len__(self) -> int:
        return len(self.fast)

    def __getitem__(self, chosen: Tensor) -> "Outputs":
        labels = None if self.labels is None else self.labels[chosen]
        return Outputs(self.fast[chosen], self.slow[chosen], labels)

    @property
    def classes(self) -> Tensor:
        """The classes that are right, (N,)."""
        return classes_of(self.slow) if self.labels is None else self.labels

    @property
    def testing(self) -> int:
        """How many images are left when some have fitted the temperature."""
        return len(self) - -(-len(self) // FITTING)

    def fitted(self) -> tuple[float, "Outputs"]:
        """The temperature that every 20th image fits, and the other images."""
        is_fitting = torch.arange(len(self)) % FITTING == 0
        fitting = self[is_fitting]
        return fitted_temperature(fitting.fast, fitting.classes), self[~is_fitting]

    def judged(self, temperature: float) -> Judged:
        """Image by image: the margin, and whether the original or the fast model alone is right."""
        right = self.classes
        fast, slow = (classes_of(logits) == right for logits in (self.fast, self.slow))
        return Judged(margin(self.fast, temperature), slow & ~fast, fast & ~slow)
