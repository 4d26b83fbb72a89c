"""How a fast model did beside the original, image by image, and a cascade's outcome from that."""

from dataclasses import dataclass
from typing import Annotated

import msgspec
import torch
from torch import Tensor

from virtualpool.schema import NotNegative, Whole

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


@dataclass(frozen=True)
class Outcome:
    """A cascade's outcome with some images.

    Attributes:
        images: how many.
        answered: by the fast model, as a share.
        lost: the sum of the losses: of a classifier, images that the original has right and the
            cascade wrong; of others, how much lower the F1 or the mean IoU of each image is.
        won: the other way round.
    """

    images: Whole
    answered: Share
    lost: NotNegative
    won: NotNegative

    @property
    def drop(self) -> float:
        """How much lower the cascade's mean is than the original's."""
        return (self.lost - self.won) / self.images


@dataclass(frozen=True)
class Judged:
    """A fast model beside the original.

    Attributes:
        sure: (N,) how sure the fast model is of each image; nan is not sure.
        lost: (N,) in [0, 1], the loss where the fast model answers.
        won: (N,) in [0, 1], the gain.
    """

    sure: Tensor
    lost: Tensor
    won: Tensor

    def outcome(self, threshold: float) -> Outcome:
        """The outcome if the fast model answers where it is surer than the threshold."""
        answered = self.sure > threshold
        lost, won = (_number(values[answered]) for values in (self.lost, self.won))
        return Outcome(len(self.sure), float(answered.double().mean()), lost, won)

    def threshold(self, allowed: float) -> float:
        """The smallest threshold at which the losses sum to `allowed` at most; -1 for all images.

        >>> ones = torch.ones(3)
        >>> Judged(torch.tensor([0.75, 0.25, 0.5]), ones, 0 * ones).threshold(1)
        0.5
        """
        order = self.sure[self.lost > 0].sort(descending=True, stable=True)
        sums = self.lost[self.lost > 0][order.indices].double().cumsum(0)
        over = (sums > allowed).nonzero()
        return float(order.values[over[0, 0]]) if len(over) else -1.0


def _number(values: Tensor) -> float:
    """The sum: a whole number where each is a yes or a no."""
    total = values.double().sum().item()
    return int(total) if values.dtype is torch.bool else total
