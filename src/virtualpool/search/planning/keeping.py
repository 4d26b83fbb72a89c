"""The kept plans made into models: each recovered, timed and judged as a round is."""

from collections.abc import Iterator, Sequence

from torch import nn

from virtualpool.apply import apply
from virtualpool.search.frontier import Point
from virtualpool.search.planning.budget import Budget
from virtualpool.search.planning.trial import Draft
from virtualpool.search.steps import Steps
from virtualpool.words import count, in_words


def points(steps: Steps, drafts: Sequence[Draft], budget: Budget) -> Iterator[Point]:
    """The models of plans, by rising speed; within the budget, but one at least.

    Each begins with the weights of the largest plan before it that is a part of it.
    """
    for index, draft in enumerate(drafts, 1):
        began = budget.elapsed
        base = base_of(index, drafts)
        before = drafts[base - 1].sites if base else ()
        added = [site for site in draft.sites if site not in before]

        def start(
            base: int = base, draft: Draft = draft, added: Sequence[str] = added
        ) -> nn.Module:
            return apply(
                steps.models.unfused(base), steps.example_inputs, added,
                border=steps.border, image_scale=draft.image_scale,
            )  # fmt: skip

        yield steps.round(index, added, len(drafts), start)
        seconds, left = budget.elapsed - began, len(drafts) - index
        if left and seconds > budget.left():
            steps.run.log(
                f"{count(left, 'kept plan')} not recovered: the budget nears its end, and the last "
                f"one took {in_words(seconds)}; the same call goes on with them"
            )
            return


def base_of(index: int, drafts: Sequence[Draft]) -> int:
    """The number of the plan whose weights a plan begins with; 0 for the original's.

    >>> drafts = [Draft(("a",)), Draft(("b",)), Draft(("a", "b")), Draft(("a", "b"), 0.5)]
    >>> [base_of(index, drafts) for index in (1, 2, 3, 4)]
    [0, 0, 1, 0]
    """
    draft = drafts[index - 1]
    smaller = [
        place
        for place, each in enumerate(drafts[: index - 1], 1)
        if each.image_scale == draft.image_scale and {*each.sites} < {*draft.sites}
    ]
    return max(smaller, key=lambda place: len(drafts[place - 1].sites), default=0)
