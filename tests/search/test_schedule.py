import json

import pytest

from virtualpool import VirtualPoolError
from virtualpool.measure.score import Score
from virtualpool.search.schedule import (
    ByTimeSaved,
    Grouped,
    Listed,
    PerLayer,
    Schedule,
    as_schedule,
)
from virtualpool.search.sensitivity import Sensitivity, SiteSensitivity


def _sensitivity(**drops: float) -> Sensitivity:
    result = Sensitivity(Score(0.9), (), "made up")
    for name, drop in drops.items():
        result = result.including(SiteSensitivity(name, Score(0.9 - drop), drop, 0.01, False, 1))
    return result


SITES = _sensitivity(a=0.5, b=0.1, c=-0.01, d=0.2, e=0.02)  # from the robust end: c e b d a

ROUNDS = {
    "one group": (Grouped(count=1), [["c", "e", "b", "d", "a"]]),
    "even groups, the first the largest": (Grouped(count=3), [["c", "e"], ["b", "d"], ["a"]]),
    "as many groups as sites": (Grouped(count=5), [["c"], ["e"], ["b"], ["d"], ["a"]]),
    "sizes": (Grouped(sizes=(2, 3)), [["c", "e"], ["b", "d", "a"]]),
    "sizes that leave some": (Grouped(sizes=(1, 2)), [["c"], ["e", "b"]]),
    "thresholds": (Grouped(thresholds=(0.02, 0.2)), [["c", "e"], ["b", "d"]]),
    "thresholds, one without sites": (
        Grouped(thresholds=(0, 0.01, 0.1, 1)),
        [["c"], ["e", "b"], ["d", "a"]],
    ),
    "per layer": (PerLayer(), [["c"], ["e"], ["b"], ["d"], ["a"]]),
    "listed": (Listed([["d", "a"], ["c"]]), [["d", "a"], ["c"]]),
}


@pytest.mark.parametrize("case", ROUNDS)
def test_rounds(case):
    schedule, expected = ROUNDS[case]
    assert schedule.rounds(SITES) == expected
    assert not schedule.needs_time
    assert len(expected) <= schedule.most_rounds(len(SITES.sites))


SAVED = {"a": 10.0, "b": 0.99, "c": 0.1, "d": -3.0, "e": 0.0}
# Per accuracy lost: a 20, b 9.9, c 0.1 / 0.01 = 10 (its drop is below its error), d and e none.


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (ByTimeSaved(count=2), [["a", "c", "b"], ["e", "d"]]),
        (ByTimeSaved(sizes=(1, 1)), [["a"], ["c"]]),
    ],
)
def test_rounds_by_time_saved(schedule, expected):
    assert schedule.needs_time
    assert schedule.rounds(SITES, SAVED) == expected


def test_the_recoverable_drop_ranks_where_it_is_known():
    solved = Sensitivity(Score(0.9), (), "made up")
    for name, drop, left in (("a", 0.5, 0.01), ("b", 0.1, 0.05), ("c", 0.01, 0.3)):
        site = SiteSensitivity(
            name, Score(0.9 - drop), drop, 0.2, False, 1, Score(0.9 - left), left, 0.001
        )
        solved = solved.including(site)
    assert PerLayer().rounds(solved) == [["a"], ["b"], ["c"]]
    assert Grouped(thresholds=(0.02, 0.3)).rounds(solved) == [["a"], ["b", "c"]]
    with pytest.raises(VirtualPoolError, match=r"the most robust, a, drops 0\.01"):
        Grouped(thresholds=(0.001,)).rounds(solved)
    same = dict.fromkeys("abc", 1.0)
    assert ByTimeSaved(count=3).rounds(solved, same) == [["a"], ["b"], ["c"]]


def test_a_drop_of_nothing_is_not_worth_everything():
    exact = Sensitivity(
        Score(1.0),
        tuple(
            SiteSensitivity(name, Score(1.0), drop, None, False, 1)
            for name, drop in (("none", 0.0), ("little", 1e-4))
        ),
        "made up",
    )
    assert ByTimeSaved(count=1).rounds(exact, {"none": 1, "little": 1.1}) == [["little", "none"]]


@pytest.mark.parametrize("case", ROUNDS)
def test_json(case):
    schedule, _ = ROUNDS[case]
    again = Schedule.from_json(json.loads(json.dumps(schedule.to_json())))
    assert again == schedule
    assert again.rounds(SITES) == schedule.rounds(SITES)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, Grouped(count=3)),
        ([["a"], ["b", "c"]], Listed((("a",), ("b", "c")))),
        ((("a",),), Listed((("a",),))),
        (PerLayer(), PerLayer()),
        (Grouped(sizes=[1, 2]), Grouped(sizes=(1, 2))),
    ],
)
def test_as_schedule(value, expected):
    assert as_schedule(value) == expected


REFUSED = {
    "nothing given": (lambda: Grouped(), "one of sizes, thresholds and count, and was given 0"),
    "two given": (lambda: Grouped(sizes=(1,), count=1), "was given 2"),
    "no rounds": (lambda: Grouped(count=0), "0 rounds were asked for"),
    "an empty round": (lambda: Grouped(sizes=(2, 0)), r"sizes is \[2, 0\]"),
    "no sizes": (lambda: Grouped(sizes=()), r"sizes is \[\]"),
    "falling thresholds": (lambda: Grouped(thresholds=(0.2, 0.1)), r"must rise, .*\[0.2, 0.1\]"),
    "no thresholds": (lambda: Grouped(thresholds=()), "must rise"),
    "too many rounds": (lambda: Grouped(count=6).most_rounds(5), "6 rounds, for 5 sites"),
    "too large sizes": (lambda: Grouped(sizes=(3, 3)).rounds(SITES), "add up to 6, for 5 sites"),
    "low thresholds": (lambda: Grouped(thresholds=(-0.5,)).rounds(SITES), "c, drops -0.01"),
    "a site twice": (lambda: Listed([["a"], ["b", "a"]]), "a: in two rounds"),
    "an empty listed round": (lambda: Listed([["a"], []]), "at least one site in each"),
    "no listed rounds": (lambda: as_schedule([]), "needs rounds"),
    "neither": (lambda: ByTimeSaved(), "either sizes or a count"),
    "both": (lambda: ByTimeSaved(sizes=(1,), count=2), "either sizes or a count"),
    "no times": (lambda: ByTimeSaved(count=1).rounds(SITES), "5 have none"),
    "a time missing": (lambda: ByTimeSaved(count=1).rounds(SITES, {"a": 1}), "4 have none"),
    "no sensitivity": (lambda: PerLayer().rounds(None), "by their sensitivity"),
    "a text": (lambda: as_schedule("features.0"), "rounds is 'features.0'"),
    "a list of names": (lambda: as_schedule(["a", "b"]), r"rounds is \['a', 'b'\]"),
    "a truth": (lambda: as_schedule(True), "rounds is True"),
    "unknown kind": (lambda: Schedule.from_json({"kind": "best"}), "Not a schedule: {'kind'"),
    "unknown option": (lambda: Schedule.from_json({"kind": "per-layer", "x": 1}), "Not a sched"),
    "not JSON of one": (lambda: Schedule.from_json([1]), "Not a schedule"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case):
    attempt, message = REFUSED[case]
    with pytest.raises(VirtualPoolError, match=message):
        attempt()
