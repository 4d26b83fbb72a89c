"""Virtual pooling itself: at which sites, in which order, in how many rounds."""

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from torch import Tensor

import virtualpool as vp
from benchmarks.accuracy.ablation.setup import Setup
from benchmarks.accuracy.ablation.variant import Change
from virtualpool.search import Schedule, Sensitivity


def pool(names: Sequence[str] | str, image: Tensor) -> Change:
    """Pools sites, or "all", on top of the pooled ones."""
    return lambda model: vp.apply(model, image, names)


def in_rounds(schedule: Schedule, setup: Setup, ranking: Sensitivity | None = None) -> list[Change]:
    """The rounds of a schedule, which may take the sites in the order of another ranking."""
    return [pool(names, setup.image) for names in _decided(schedule, setup, ranking)]


def reached(schedule: Schedule, setup: Setup) -> list[list[str]]:
    """The sites that are pooled after each round of a schedule."""
    return list(accumulate(_decided(schedule, setup)))


def by_macs(ranking: Sensitivity) -> Sensitivity:
    """The ranking with the sites of the most work first."""
    return replace(ranking, sites=tuple(sorted(ranking.sites, key=lambda site: -site.macs)))


def at_random(ranking: Sensitivity, seed: int) -> Sensitivity:
    """The ranking with its sites shuffled."""
    shuffled = random.Random(seed).sample(ranking.sites, len(ranking.sites))
    return replace(ranking, sites=tuple(shuffled))


def _decided(
    schedule: Schedule, setup: Setup, ranking: Sensitivity | None = None
) -> list[list[str]]:
    saved_ms = setup.saved_ms if schedule.needs_time else None
    return schedule.rounds(ranking or setup.sensitivity, saved_ms)
