"""An original that knows no more than chance is refused before anything is recovered from it."""

import functools
import math

from torch import nn

from virtualpool.errors import VirtualPoolError
from virtualpool.measure.score import Evaluate, Score
from virtualpool.plan import plan_of

_ENOUGH = 100
"""Images from which on a score can be told from chance."""
_ERRORS = 2.0


def not_at_chance(evaluate: Evaluate, classes: int) -> Evaluate:
    """The same judge, which refuses an original that knows no more than chance.

    >>> import torch
    >>> judge = not_at_chance(lambda _: Score.of(torch.full((200,), 0.1)), 10)
    >>> judge(nn.Identity())
    Traceback (most recent call last):
    virtualpool.errors.VirtualPoolError: The original has 10.0 % of 200 images right, ...
    """

    @functools.wraps(evaluate)
    def judged(model: nn.Module) -> float:
        score = evaluate(model)
        if plan_of(model).is_empty and isinstance(score, Score):
            _check(score, classes)
        return score

    return judged


def _check(score: Score, classes: int) -> None:
    samples, chance = score.samples or 0, 1 / classes
    error = math.sqrt(chance * (1 - chance) / max(samples, 1))
    if samples >= _ENOUGH and float(score) <= chance + _ERRORS * error:
        raise VirtualPoolError(
            f"The original has {100 * float(score):.1f} % of {samples:,} images right, and chance "
            f"{100 * chance:.1f} %. Look at --weights, --mean, --std and the order of the classes, "
            "or give --at-chance to go on."
        )
