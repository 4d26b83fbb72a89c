"""How the learning rate and the length of the averaging change during a training."""

import math
from typing import Literal

RateSchedule = Literal["paper", "cosine"]


def factor(
    rate_schedule: RateSchedule, progress: float, *, drops: tuple[float, ...], warm_up: float
) -> float:
    """The factor on the learning rate at a progress between 0 and 1.

    "paper" multiplies it by 0.1 at each of the `drops`; "cosine" raises it in a line over the
    first `warm_up` of the training and lowers it to zero along half a cosine.

    >>> [factor("paper", p, drops=(1 / 3, 2 / 3), warm_up=0) for p in (0.2, 0.5, 0.8)]
    [1.0, 0.1, 0.01]
    >>> [round(factor("cosine", p, drops=(), warm_up=0.1), 3) for p in (0.05, 0.1, 0.55, 1)]
    [0.5, 1.0, 0.5, 0.0]
    """
    if rate_schedule == "paper":
        return round(0.1 ** sum(progress >= drop for drop in drops), 12)
    if progress < warm_up:
        return progress / warm_up
    return (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up))) / 2
