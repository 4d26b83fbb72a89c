"""The search for plans: which ones are tried, in which order, and which are kept."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from virtualpool.errors import VirtualPoolError
from virtualpool.files import naming
from virtualpool.search.planning.budget import Budget, OutOfBudget, within
from virtualpool.search.planning.candidates import (
    Candidate,
    at_scale,
    candidates,
    taken_scales,
)
from virtualpool.search.planning.choosing import is_behind, unbeaten
from virtualpool.search.planning.deciding import Deciding
from virtualpool.search.planning.growing import Growing
from virtualpool.search.planning.target import Target
from virtualpool.search.planning.trial import Draft, Plans, Trial
from virtualpool.search.planning.trials import Trials
from virtualpool.search.steps import Steps
from virtualpool.sites import Site
from virtualpool.words import count, in_words, some

FILE = "plans.json"
"""The file of a run with its plans, kept or left."""
_PLANS_EACH = 4
"""How many plans are tried at most, for each site or group and each image scale."""
_NEEDED = 2
"""How many of them a candidate needs: to be tried alone, and to join the others."""
_SWAPS = 2
"""How many candidates of each kept plan are exchanged."""


def planned(
    steps: Steps,
    found: Sequence[Site],
    batches: Iterable[Any],
    target: Target,
    scales: Sequence[float],
    budget: Budget,
) -> Plans:
    """Tries plans, decides once which of them are kept, and remembers it.

    Raises:
        VirtualPoolError: no plan is within the target's bound, or the run has decided for another
            target.
    """
    search = _Search(steps, found, batches, target, scales, budget)
    path = steps.run.directory / FILE
    value = steps.run.remember(path, lambda: search.plans().to_json())
    with naming(path):
        plans = Plans.from_json(value)
    if plans.target != target:
        raise VirtualPoolError(
            f"{path}: made for {plans.target}, and not for {target}. "
            "Start with the same target to go on, or in another directory."
        )
    return plans


class _Search:
    """A search for plans; see `planned`."""

    def __init__(
        self,
        steps: Steps,
        found: Sequence[Site],
        batches: Iterable[Any],
        target: Target,
        scales: Sequence[float],
        budget: Budget,
    ) -> None:
        self._steps, self._target, self._budget = steps, target, budget
        self._found, self._sites = found, [site.name for site in found]
        self._candidates = candidates(found)
        self._asked_scales = scales
        limit = _PLANS_EACH * (len(self._candidates) + len(scales))
        self._trials = Trials(steps, batches, self._sites, budget, limit)
        fine_tuned = len(steps.recoveries) > 1
        score = float(steps.original_score)
        self._deciding = Deciding(steps.run, self._trials, target, fine_tuned, score)
        self._log = steps.run.log

    def plans(self) -> Plans:
        """Tries plans and decides which are kept."""
        steps = self._steps
        scales, reasons = taken_scales(steps.model, steps.example_inputs, self._asked_scales)
        for scale, reason in reasons.items():
            self._log(f"images at scale {scale:g} are not tried: {reason}")
        self._announce(scales)
        try:
            self._try_all(scales)
        except OutOfBudget as end:
            self._log(f"no more plans are tried: {end}")
            self._try_smaller_alone(scales)
        tried = len(self._trials.found)
        steps.observer("plans", tried, tried, "done")
        return self._deciding.plans(self._about_scales(scales))

    def _announce(self, scales: list[float]) -> None:
        sites, groups = len(self._sites), len(self._candidates)
        grouped = f", in {count(groups, 'group')}" if groups < sites else ""
        at = f", images at scale {', '.join(f'{scale:g}' for scale in scales)}" if scales else ""
        self._log(
            f"to do: try up to {self._trials.limit} plans of {count(sites, 'site')}{grouped}{at}, "
            f"each reconstructed, evaluated and timed; then recover at most {self._target}"
            f"{within(self._budget.seconds)}"
        )

    def _try_all(self, scales: list[float]) -> None:
        trials = self._trials
        trials.of(self._sites, 1.0, "all sites")
        left = max(0, int(min(trials.room(), trials.limit - len(trials.found))))
        if left:
            self._log(
                f"a plan takes about {in_words(trials.seconds())}: at most {left} more, "
                f"{in_words(left * trials.seconds())} without the recovery of the kept ones"
            )
        order = self._fitting()
        alone = {each.name: trials.of(each.sites, 1.0, f"{each.name} alone") for each in order}
        ranked = sorted(order, key=lambda each: alone[each.name].cost_per_ms)
        self._log(f"the least drop for a millisecond saved: {some([it.name for it in ranked], 5)}")
        growing = Growing(trials, ranked, order, self._log)
        growing.grow(1.0, lambda _: True)
        pooled = unbeaten(trials)
        for scale in scales:
            self._grow_at(scale, growing, pooled)
        for trial in self._deciding.kept():
            growing.swap(trial, _SWAPS)

    def _try_smaller_alone(self, scales: list[float]) -> None:
        """Tries smaller images, which need no reconstruction, where nothing is kept so far."""
        if self._deciding.kept():
            return
        self._trials.take_all()
        try:
            for scale in scales:
                self._trials.of((), scale, "no sites")
        except OutOfBudget as end:
            self._log(f"no more image scales are tried: {end}")

    def _fitting(self) -> list[Candidate]:
        """The candidates; larger groups where the budget has no room for each of them."""
        known = sum(Draft(each.sites) in self._trials.found for each in self._candidates)
        most = (self._trials.room() + known) / _NEEDED
        if len(self._candidates) <= most:
            return self._candidates
        groups = candidates(self._found, max(1, int(most)))
        self._log(
            f"the budget has room for few plans: the sites join in {count(len(groups), 'group')}, "
            f"{some([each.name for each in groups], 5)}"
        )
        return groups

    def _grow_at(self, scale: float, growing: Growing, pooled: list[Trial]) -> None:
        """Adds sites at an image scale, as long as no plan at scale 1 is ahead at equal speed."""
        start = self._trials.of((), scale, "no sites")
        if is_behind(start, pooled):
            self._log(f"images at scale {scale:g} get no sites: pooling alone is ahead there")
            return
        if self._deciding.is_of_no_use(start):
            self._log(f"images at scale {scale:g} get no sites: alone they lose too much")
            return
        steps = self._steps
        order = at_scale(growing.order, steps.model, steps.example_inputs, scale)
        ranked = [each for each in growing.ranked if each in order]
        growing = replace(growing, ranked=ranked, order=order)

        def goes_on(trial: Trial) -> bool:
            return not is_behind(trial, pooled) and not self._deciding.is_of_no_use(trial)

        growing.grow(scale, goes_on, start)

    def _about_scales(self, scales: list[float]) -> str | None:
        """Why no other image scale was tried; None where one was."""
        if not self._asked_scales:
            return "No other image scale was to be tried."
        if not scales:
            return "The network takes images of one size alone, so no other scale was tried."
        if not any(trial.draft.image_scale != 1 for trial in self._trials):
            return "Images at another scale were not tried: the budget was spent before."
        return None
