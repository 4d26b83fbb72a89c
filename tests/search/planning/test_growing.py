"""Growing plans, with trials from a table in place of models."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.search.planning.made import trial

from virtualpool.search.planning.candidates import Candidate
from virtualpool.search.planning.growing import Growing
from virtualpool.search.planning.trial import Trial


class Tries:
    """Stands for `Trials`: the milliseconds that sites save are in a table."""

    def __init__(self, saved: Callable[[set[str]], float], readers: str) -> None:
        self.saved, self.readers, self.tried = saved, readers, []

    def of(self, sites, image_scale: float, why: str) -> Trial:
        names = "".join(sorted(set(sites)))
        self.tried.append(names)
        found = trial(names, scale=image_scale, readers=self.readers)
        speedup = 8 / (8 * image_scale**2 - self.saved(set(names)))
        return replace(found, speedup=speedup, why=why)


def growing(
    ranked: str, saved: Callable[[set[str]], float], readers: str = ""
) -> tuple[Growing, Tries, list[str]]:
    of = {name: Candidate(name, (name,)) for name in "abcd"}
    tries, log = Tries(saved, readers), []
    grown = Growing(tries, [of[name] for name in ranked], [*of.values()], log.append)  # pyright: ignore
    return grown, tries, log


def each_saves_one(names: set[str]) -> float:
    return len(names)


def coupled(*pairs: str) -> Callable[[set[str]], float]:
    """Every site saves a millisecond, but those of a pair only together."""

    def saved(names: set[str]) -> float:
        alone = [pair for pair in pairs if len(names.intersection(pair)) == 1]
        return len(names) - len(alone)

    return saved


@pytest.mark.parametrize(
    ("ranked", "saved", "readers", "tried", "pairs"),
    [
        ("cadb", each_saves_one, "", ["c", "ac", "acd", "abcd"], 0),
        # Together with the module that reads its map in full, or with the next in the network.
        ("bacd", coupled("bd"), "d", ["b", "bd", "d", "abd", "abcd"], 1),
        ("bacd", coupled("bc"), "", ["b", "bc", "c", "abc", "abcd"], 1),
        # The pair saves what the next one saves alone.
        ("bacd", coupled("bd"), "", ["b", "bc", "c", "a", "ac", "acd"], 0),
        ("acd", coupled("bd"), "", ["a", "ac", "acd"], 0),
        ("ab", lambda names: 0, "", ["a", "ab", "b"], 0),
    ],
)
def test_the_order_in_which_plans_grow(ranked, saved, readers, tried, pairs):
    grown, tries, log = growing(ranked, saved, readers)
    grown.grow(1.0, lambda _: True)
    assert tries.tried == tried
    assert sum("together" in line for line in log) == pairs


def test_the_log_says_who_stays_unpooled():
    grown, _, log = growing("ab", lambda names: 0)
    grown.grow(1.0, lambda _: True)
    assert log == [
        "a stays unpooled: it saves no time there",
        "b stays unpooled: it saves no time there",
    ]


def test_a_plan_at_a_scale_grows_as_long_as_it_is_ahead():
    grown, tries, _ = growing("abcd", each_saves_one)
    start = tries.of((), 0.75, "the image alone")
    grown.grow(0.75, lambda trial: len(trial.draft.sites) < 2, start)
    assert tries.tried == ["", "a", "ab"]
    assert start.speedup == pytest.approx(1 / 0.75**2)


@pytest.mark.parametrize(
    ("sites", "tried"),
    [("ab", ["ac", "bc"]), ("abc", ["abd", "acd"]), ("abcd", []), ("c", ["a"]), ("", [])],
)
def test_the_costliest_are_exchanged_for_the_best_that_are_left(sites, tried):
    grown, tries, _ = growing("abcd", each_saves_one)
    grown.swap(trial(sites), 2)
    assert tries.tried == tried
