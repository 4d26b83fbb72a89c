"""Plans made larger, candidate by candidate, and with one candidate in another's place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from virtualpool.search.planning.candidates import Candidate
from virtualpool.search.planning.trial import Trial
from virtualpool.search.planning.trials import Trials

_FASTER = 1.01
"""Times faster, from where on it is no noise."""


@dataclass(frozen=True)
class Growing:
    """How plans are made of candidates.

    Attributes:
        trials: tries them.
        ranked: the candidates, the one with the least drop for a millisecond saved first.
        order: the candidates in the order of execution.
        log: takes a line on each decision.
    """

    trials: Trials
    ranked: Sequence[Candidate]
    order: Sequence[Candidate]
    log: Callable[[str], None]

    def grow(
        self, image_scale: float, goes_on: Callable[[Trial], bool], start: Trial | None = None
    ) -> None:
        """Adds the candidates as they are ranked, and tries each plan.

        One that saves no time is tried together with the candidate that reads its interpolated map,
        for fusing couples the two; and left out where the pair saves no more than that one alone.

        Args:
            image_scale: of all plans.
            goes_on: whether to add more to a plan.
            start: the plan with no site; None is the original.
        """
        current, left = start, [*self.ranked]
        while left:
            candidate = left.pop(0)
            trial = self._with(current, image_scale, candidate)
            if not _is_faster(trial, current):
                partner = self._reader(trial, candidate, left)
                pair = partner and self._pair(current, image_scale, candidate, partner)
                if not partner or not pair:
                    self.log(f"{candidate.name} stays unpooled: it saves no time there")
                    continue
                self.log(f"{candidate.name} and {partner.name} save more together than alone")
                left.remove(partner)
                trial = pair
            current = trial
            if not goes_on(current):
                return

    def swap(self, trial: Trial, swaps: int) -> None:
        """Tries a plan with its costliest candidates, one at a time, in exchange for another."""
        sites = {*trial.draft.sites}
        inside = [each for each in reversed(self.ranked) if sites.issuperset(each.sites)]
        outside = [each for each in self.ranked if sites.isdisjoint(each.sites)]
        for old in inside[:swaps]:
            for new in outside[:1]:
                self.trials.of(
                    sites.difference(old.sites).union(new.sites),
                    trial.draft.image_scale,
                    f"{new.name} in place of {old.name}",
                )

    def _pair(
        self, current: Trial | None, image_scale: float, candidate: Candidate, partner: Candidate
    ) -> Trial | None:
        """A plan with both of a pair, if it is faster than with the partner alone."""
        pair = self._with(current, image_scale, candidate, partner)
        if not _is_faster(pair, current):
            return None
        return pair if _is_faster(pair, self._with(current, image_scale, partner)) else None

    def _with(self, current: Trial | None, image_scale: float, *added: Candidate) -> Trial:
        before = current.draft.sites if current else ()
        names = " and ".join(each.name for each in added)
        return self.trials.of(
            (*before, *(site for each in added for site in each.sites)),
            image_scale,
            f"{names} added" if current else f"{names} alone",
        )

    def _reader(
        self, trial: Trial, candidate: Candidate, left: Sequence[Candidate]
    ) -> Candidate | None:
        """The candidate that reads an interpolated map; else the next one in the network."""
        readers = {*trial.readers}
        behind = self.order[self.order.index(candidate) + 1 :]
        reading = [each for each in left if readers.intersection(each.sites)]
        return next(iter(reading), next((each for each in behind if each in left), None))


def _is_faster(trial: Trial, current: Trial | None) -> bool:
    return trial.speedup > _FASTER * (current.speedup if current else 1.0)
