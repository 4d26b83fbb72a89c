"""An original that knows no more than chance is refused before anything is recovered from it."""

import functools
import math
from dataclasses import dataclass
from typing import Any

from torch import nn

from virtualpool.errors import VirtualPoolError
from virtualpool.measure.score import Evaluate, Score
from virtualpool.measure.unit import Unit
from virtualpool.plan import plan_of
from virtualpool.tasks.classification import Classification
from virtualpool.tasks.segmentation import Segmentation

_ENOUGH, _ENOUGH_GUESSES = 10, 100
"""Images from which on a score can be told from chance; more where chance is a guess."""
_ERRORS = 2.0


@dataclass(frozen=True)
class Chance:
    """What a network scores that knows nothing.

    Attributes:
        score: of such a network.
        said: the same network for people.
        error: a score that is higher by up to this is no better.
        images: how many images a score must be of to be judged so.
    """

    score: float
    said: str
    error: float = 0.0
    images: int = _ENOUGH


def chance_in(data: Any) -> Chance:
    """What a network scores on the test images of a task that knows nothing.

    Args:
        data: of classification, detection or segmentation.
    """
    if isinstance(data, Classification):
        images: Any = data.test.dataset
        return of_classes(len(data.classes), len(images))
    if isinstance(data, Segmentation):
        one = data.of_one_class()
        return Chance(one, "a mask of one class everywhere")
    return Chance(0.0, "a detector that finds nothing")


def of_classes(classes: int, images: int) -> Chance:
    """What guessing one of some classes scores, with the error of so many images.

    >>> guessing = of_classes(10, 900)
    >>> guessing.score, round(guessing.error, 6)
    (0.1, 0.02)
    """
    chance = 1 / classes
    error = math.sqrt(chance * (1 - chance) / max(images, 1))
    return Chance(chance, "chance", _ERRORS * error, _ENOUGH_GUESSES)


def not_at_chance(evaluate: Evaluate, chance: Chance) -> Evaluate:
    """The same judge, which refuses an original that knows no more than chance.

    >>> import torch
    >>> judge = not_at_chance(lambda _: Score.of(torch.full((200,), 0.1)), of_classes(10, 200))
    >>> judge(nn.Identity())
    Traceback (most recent call last):
    virtualpool.errors.VirtualPoolError: The original scores 10.0% on 200 images, and ...
    """

    @functools.wraps(evaluate)
    def judged(model: nn.Module) -> float:
        score = evaluate(model)
        if plan_of(model).is_empty and isinstance(score, Score):
            _check(score, chance)
        return score

    return judged


def _check(score: Score, chance: Chance) -> None:
    samples = score.samples or 0
    if samples >= chance.images and float(score) <= chance.score + chance.error:
        unit = score.unit or Unit.guessed([score])
        raise VirtualPoolError(
            f"The original scores {unit.score(score)} on {samples:,} images, and {chance.said} "
            f"{unit.score(chance.score)} ({unit.name}). Look at --weights, --mean, --std and the "
            "order of the classes, or give --at-chance to go on."
        )
