"""Plans tried one after the other: each is a record in the run directory, and tried once."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from virtualpool.apply import apply
from virtualpool.files import naming
from virtualpool.fuse import Report
from virtualpool.graph.image_scale import without_resizing
from virtualpool.graph.inputs import batch_size
from virtualpool.graph.random_numbers import seeded
from virtualpool.measure.latency import LatencyOptions, Speedup, latency
from virtualpool.observer import unobserved
from virtualpool.processes import agreed, is_main
from virtualpool.records import append_record, read_records
from virtualpool.recover.batches import images_of
from virtualpool.recover.reconstruction import reconstruct
from virtualpool.search.planning.budget import Budget, OutOfBudget
from virtualpool.search.planning.trial import Draft, Trial
from virtualpool.search.run.forms import fused_if_possible
from virtualpool.search.steps import Steps
from virtualpool.words import in_words

_IMAGES, _PART = 256, 0.5
"""About so many, and about this part of all at most, reconstruct a plan that is tried, as they are
as good at ranking; all of them a model that is kept."""
_REPEATS = 7
"""Of a timing; the models that are kept are timed anew."""
_ATTEMPTS = 3
"""How often a speed-up is timed until it is steady."""
_SHARE = 0.5
"""Of the budget, to try plans in; the rest is for the models that are kept, if there are any."""


class Trials:
    """The plans of a search that were tried.

    Args:
        steps: of the search.
        batches: images to reconstruct with, which can be gone through again and again.
        order: the names of all sites, in the order of execution.
        budget: of the search.
        limit: how many plans are tried at most.
    """

    def __init__(
        self, steps: Steps, batches: Iterable[Any], order: Sequence[str], budget: Budget, limit: int
    ) -> None:
        self._steps, self._batches, self._budget = steps, some_of(batches, _IMAGES, _PART), budget
        self._places = {name: place for place, name in enumerate(order)}
        self._path = steps.run.directory / "plans.jsonl"
        self.limit = self._expected = limit
        self._share = _SHARE
        with naming(self._path):
            records = agreed(read_records(self._path) if is_main() else [])
            known = map(Trial.from_json, records)
            self.found = {trial.draft: trial for trial in known}

    def __iter__(self) -> Iterator[Trial]:
        return iter(self.found.values())

    def seconds(self, *, has_sites: bool = True) -> float:
        """How long a plan takes that has sites or has none, by the ones so far."""
        alike = [trial.seconds for trial in self if bool(trial.draft.sites) == has_sites]
        return sum(alike) / max(1, len(alike))

    def room(self, *, has_sites: bool = True) -> float:
        """How many such plans the budget has room for, about; infinite without one."""
        return self._budget.left(self._share) / max(self.seconds(has_sites=has_sites), 1e-9)

    def take_all(self) -> None:
        """From now on the whole budget is for trials: no model is kept so far."""
        self._share = 1.0

    def of(self, sites: Iterable[str], image_scale: float, why: str) -> Trial:
        """The trial of a plan, which is made if there is none yet.

        Raises:
            OutOfBudget: another plan is more than the limit, or the budget, allows.
        """
        draft = Draft(tuple(sorted({*sites}, key=self._places.__getitem__)), image_scale)
        if draft not in self.found:
            self._check(draft)
            self._tell(str(draft))
            self.found[draft] = trial = self._tried(draft, why)
            if is_main():
                append_record(self._path, trial.to_json())
            self._steps.run.log(f"plan {len(self.found)}, {why}: {trial}")
            self._tell("")
        return self.found[draft]

    def _check(self, draft: Draft) -> None:
        if len(self.found) >= self.limit:
            raise OutOfBudget(f"{self.limit} plans are tried")
        if not self.found:
            return
        has_sites = bool(draft.sites)
        room = self.room(has_sites=has_sites)
        self._expected = int(min(self.limit, len(self.found) + room))
        if room < 1:
            kept = ", and half of the budget is kept for the models" if self._share < 1 else ""
            seconds = self.seconds(has_sites=has_sites)
            raise OutOfBudget(f"another one takes about {in_words(seconds)}{kept}")

    def _tell(self, message: str) -> None:
        self._steps.observer("plans", len(self.found), self._expected, message)

    def _tried(self, draft: Draft, why: str) -> Trial:
        steps, began = self._steps, self._budget.elapsed
        with _quiet():
            model, report = self._recovered(draft), Report()
            if draft.sites:
                fused, report = fused_if_possible(model, steps.example_inputs)
                model = model if fused is None else fused
        # Fused, an evaluation is faster, and its score is the same.
        drop = steps.original_score - steps.judge(model, f"the model with {draft}")
        # One process times, and the others wait: all are to decide by the same numbers.
        timed = agreed(self._speedup(model) if is_main() else None)
        assert timed is not None
        speedup, original = timed.median, steps.models.times(0).unmodified.median_ms
        return Trial(
            draft=draft,
            drop=agreed(float(drop)),
            standard_error=agreed(drop.standard_error),
            speedup=speedup,
            is_steady=timed.is_steady,
            latency_ms=original / speedup,
            saved_ms=original - original / speedup,
            readers=tuple(
                dict.fromkeys(it for map in report.interpolations for it in map.asked_by)
            ),
            seconds=self._budget.elapsed - began,
            why=why,
        )

    def _recovered(self, draft: Draft) -> nn.Module:
        """The plan's model, unfused, with every layer behind its first site solved."""
        steps = self._steps
        pooled = apply(
            steps.model,
            steps.example_inputs,
            draft.sites,
            border=steps.border,
            image_scale=draft.image_scale,
        )
        if not draft.sites:
            return pooled.eval()
        with seeded(steps.seed, "reconstruction"):
            return reconstruct(
                pooled, steps.model, self._batches, steps=0, observer=unobserved
            ).eval()

    def _speedup(self, model: nn.Module) -> Speedup:
        """How many times faster than the original a model is, on images resized already."""
        steps = self._steps
        options: LatencyOptions = {**steps.latency}
        options["repeats"] = min(_REPEATS, options.get("repeats", _REPEATS))
        alone = without_resizing(model, steps.example_inputs)
        models = {"original": steps.model, "plan": alone}
        found: list[Speedup] = []
        while len(found) < _ATTEMPTS and not (found and found[-1].is_steady):
            times = latency(models, steps.example_inputs, **options)
            found.append(times["plan"].speedup_over(times["original"]))
        best = min(found, key=lambda speedup: speedup.spread)
        if not best.is_steady:
            steps.run.log(f"the machine is busy, which makes a speed-up uncertain: {best}")
        return best


def some_of(batches: Iterable[Any], images: int, part: float) -> list[Any]:
    """About so many images of some batches, and about a part of all at most.

    They are whole batches that are spread evenly.

    >>> import torch
    >>> batches = torch.arange(12).view(12, 1).split(2)
    >>> [int(batch[0, 0]) for batch in some_of(batches, 4, 0.5)]
    [0, 6]
    >>> [int(batch[0, 0]) for batch in some_of(batches, 12, 0.5)]
    [0, 4, 8]
    """
    every = list(batches)
    found = sum(batch_size((images_of(batch),)) for batch in every)
    return every[:: max(round(1 / part), round(found / images))]


@contextmanager
def _quiet() -> Iterator[None]:
    """Within, the log of each model is left out: there are dozens."""
    logger = logging.getLogger("virtualpool")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
