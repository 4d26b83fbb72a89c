"""A variant: the changes to the trained network, round by round, and its training."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from benchmarks.accuracy.ablation.recovery import LOGITS

Change = Callable[[nn.Module], nn.Module]
"""Makes a new model of one, with the same learned weights."""


@dataclass(frozen=True)
class Variant:
    """A way to a faster network.

    Attributes:
        name: in tables.
        changes: of a seed, what each round makes of the model that the round before has trained;
            the rounds have equal parts of the training.
        recovery: how it is trained, one of `RECOVERIES`.
        frontier: the line of the figure that it lies on, if it lies on one.
        side: the share of the images' side that the network is timed on.
    """

    name: str
    changes: Callable[[int], Sequence[Change]]
    recovery: str = LOGITS
    frontier: str | None = None
    side: float = 1

    @classmethod
    def once(
        cls,
        name: str,
        change: Change,
        recovery: str = LOGITS,
        frontier: str | None = None,
        side: float = 1,
    ) -> "Variant":
        """A variant of one round, the same for every seed."""
        return cls(name, lambda seed: [change], recovery, frontier, side)

    @property
    def folder(self) -> str:
        """The name as a folder's name."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower())
