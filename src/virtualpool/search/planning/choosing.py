"""Which of the plans that were tried are kept: those that no other one beats, thinned out."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from virtualpool.search.planning.target import Target
from virtualpool.search.planning.trial import Trial


def unbeaten(trials: Iterable[Trial]) -> list[Trial]:
    """The plans that are faster than the original and that no other one beats, by rising speed."""
    best: list[Trial] = []
    for trial in sorted(trials, key=lambda trial: (-trial.speedup, trial.drop)):
        if trial.speedup > 1 and (not best or trial.drop < best[-1].drop):
            best.append(trial)
    return best[::-1]


def is_behind(trial: Trial, line: Sequence[Trial]) -> bool:
    """Whether a plan drops as much as others do at its speed, or more.

    Args:
        trial: the plan.
        line: unbeaten plans, by rising speed: between them, and from the original to the first,
            are straight lines. Beyond the fastest no plan is behind.
    """
    speeds = [1.0, *(each.speedup for each in line)]
    if trial.speedup > speeds[-1]:
        return False
    drops = [0.0, *(each.drop for each in line)]
    return trial.drop >= float(np.interp(trial.speedup, speeds, drops))


def beater(trial: Trial, trials: Iterable[Trial]) -> Trial | None:
    """The plan that beats another one by most, if one does: as fast and as good at least."""
    better = [
        each
        for each in trials
        if each.speedup >= trial.speedup and each.drop <= trial.drop and each.draft != trial.draft
    ]
    return min(better, key=lambda each: (each.drop, -each.speedup), default=None)


def thinned(line: Sequence[Trial], target: Target) -> list[Trial]:
    """So many unbeaten plans as the target asks for.

    One after the other, the plan whose lack costs least is left out: who asked for a speed between
    the last plan and this one has to take the next. That costs the difference of their drops, over
    the ratio of speeds. The fastest plan stays; but where only one is asked for, with a least
    speed, the best one stays.

    Args:
        line: unbeaten plans within the target's bound, by rising speed.
        target: how many.
    """
    left = [*line]
    if target.points == 1 and target.max_drop is None and target.bound:
        return left[:1]
    while len(left) > target.points:
        before = [1.0, *(each.speedup for each in left)]
        costs = [
            math.log(each.speedup / speed) * (after.drop - each.drop)
            for speed, (each, after) in zip(before, pairwise(left), strict=False)
        ]
        del left[costs.index(min(costs))]
    return left
