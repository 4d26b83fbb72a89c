"""The results of a variant's trainings and timings, over its seeds."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.accuracy.ablation.runner import Training
from benchmarks.accuracy.ablation.speeds import Speeds
from benchmarks.accuracy.ablation.variant import Variant
from virtualpool.measure import Speedup


@dataclass(frozen=True)
class Result:
    """A variant after one of its rounds.

    Attributes:
        title: of the variant, and of the round if there are several.
        accuracies: one a seed that got so far.
        macs: multiply-accumulates per image, the mean over these seeds.
        unfused: how many times faster than the original it is.
        fused: the same, fused; None if it is not pooled.
    """

    title: str
    accuracies: list[float]
    macs: float
    unfused: Speedup
    fused: Speedup | None

    @property
    def accuracy(self) -> float:
        """The mean over the seeds."""
        return statistics.mean(self.accuracies)

    @property
    def spread(self) -> float | None:
        """The standard deviation over the seeds, if there are several."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    @property
    def speedup(self) -> Speedup:
        """The speedup of the faster form."""
        forms = [self.unfused, self.fused or self.unfused]
        return max(forms, key=lambda form: form.median)


def results(variant: Variant, trainings: Mapping[int, Training], speeds: Speeds) -> list[Result]:
    """A result a round, of the trainings of each seed; rounds that no seed got to are left out."""
    rounds = len(speeds.names[variant.name, next(iter(trainings))])
    found = []
    for index in range(rounds):
        reached = {seed: it.stages[index] for seed, it in trainings.items() if it.stages[index:]}
        if reached:
            result = Result(
                title=f"{variant.name}, {index + 1}" if rounds > 1 else variant.name,
                accuracies=[float(stage.score) for stage in reached.values()],
                macs=statistics.mean(stage.macs for stage in reached.values()),
                unfused=speeds.unfused(variant, reached, index),
                fused=speeds.fused(variant, reached, index),
            )
            found.append(result)
    return found
