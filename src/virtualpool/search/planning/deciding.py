"""Which of the plans that were tried become models, and why, in words."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from virtualpool.errors import VirtualPoolError
from virtualpool.search.planning.choosing import beater, thinned, unbeaten
from virtualpool.search.planning.target import Target
from virtualpool.search.planning.trial import Decision, Plans, Trial
from virtualpool.search.planning.trials import Trials
from virtualpool.search.run import Run
from virtualpool.words import count

_MOST_LOST = 0.25
"""The share of the original's score from which on a plan is of no use, unless for its speed."""
_WON_BACK = 0.5
"""The share of a recoverable drop that is left after fine-tuning, about (`docs/results`)."""


@dataclass(frozen=True)
class Deciding:
    """Decides on plans.

    Attributes:
        run: keeps the log.
        trials: the plans that were tried.
        target: how many are asked for, within which bound.
        fine_tuned: whether a fine-tuning follows, which wins back a part of each drop.
        score: the original's.
    """

    run: Run
    trials: Trials
    target: Target
    fine_tuned: bool
    score: float

    def kept(self) -> list[Trial]:
        """The plans that would become models now."""
        return thinned(self._within(), self.target)

    def plans(self, scales: str | None) -> Plans:
        """Decides on every plan, and logs it.

        Args:
            scales: why no other image scale was tried; None where one was.

        Raises:
            VirtualPoolError: no plan is within the bound.
        """
        within, kept, best = self._within(), self.kept(), unbeaten(self.trials)
        if not within and self.target.bound:
            raise VirtualPoolError(self._nothing_within())
        if not within:
            self.run.log(self._nothing_kept(best))
        decisions = tuple(
            Decision(trial, trial in kept, self._reason(trial, kept, within), trial in best)
            for trial in sorted(self.trials, key=lambda trial: trial.speedup)
        )
        for place, each in enumerate((it for it in decisions if it.kept), 1):
            self.run.log(f"{self.run.folder(place).name} will be {each.trial}")
        for each in decisions:
            if not each.kept and each.trial in within:
                self.run.log(f"left: {each.trial}: {each.reason}")
        smaller = scales or _about_scales(kept)
        self.run.log(smaller)
        plans = Plans(self.target, decisions, smaller)
        if plans.noise:
            self.run.log(plans.noise, logging.WARNING)
        return plans

    def is_of_no_use(self, trial: Trial) -> bool:
        """Whether a plan loses so much of the score that nobody asks for it; not with a bound."""
        return not self.target.bound and 0 < self.score * _MOST_LOST < trial.drop

    def _within(self) -> list[Trial]:
        return [
            trial
            for trial in unbeaten(self.trials)
            if self._excess(trial) <= 0 and not self.is_of_no_use(trial)
        ]

    def _excess(self, trial: Trial) -> float:
        return self.target.excess(
            drop=trial.drop * (_WON_BACK if self.fine_tuned and trial.drop > 0 else 1),
            speedup=trial.speedup,
            latency_ms=trial.latency_ms,
        )

    def _reason(self, trial: Trial, kept: Sequence[Trial], within: Sequence[Trial]) -> str:
        if trial in kept:
            return "no plan that was tried is both faster and better"
        if trial in within:
            return f"the others say more, of {self.target.points} to keep"
        if trial.speedup <= 1:
            return "it is no faster than the original"
        if better := beater(trial, self.trials):
            return f"beaten by {better}"
        if self.is_of_no_use(trial):
            return f"it loses more than {_MOST_LOST:.0%} of the original's score"
        return f"outside of the bound, {self.target.bound}"

    def _nothing_kept(self, best: Sequence[Trial]) -> str:
        if not best:
            return "no plan that was tried is faster than the original here"
        nearest = min(best, key=lambda it: it.drop)
        return (
            f"no plan that was tried is kept: each faster one loses more than {_MOST_LOST:.0%} of "
            f"the original's score, {nearest} least. Give a longer budget, or a min_speedup."
        )

    def _nothing_within(self) -> str:
        nearest = min(self.trials, key=lambda it: (max(self._excess(it), 0), -it.speedup))
        return (
            f"No plan that was tried is faster than the original and has {self.target.bound}: the "
            f"nearest is {nearest}. Ask for less in the same directory, which keeps the results "
            f"of {count(len(self.trials.found), 'plan')}."
        )


def _about_scales(kept: Sequence[Trial]) -> str:
    """Whether images at another scale paid."""
    paid = [trial for trial in kept if trial.draft.image_scale != 1]
    if paid:
        return f"Images at another scale pay in {len(paid)} of the {len(kept)} kept plans."
    return "No plan with images at another scale is kept: at every speed pooling alone is ahead."
