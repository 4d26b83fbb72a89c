import pytest
from tests.search.planning.made import trial

from virtualpool import Target
from virtualpool.search.planning.choosing import beater, is_behind, thinned, unbeaten

SLOW = trial("a", speedup=0.9, drop=-0.1)
LEVEL = trial("b", speedup=1.0, drop=0.0)
LINE = [
    trial("c", speedup=1.2, drop=0.01),
    trial("cd", speedup=2.0, drop=0.02),
    trial("cde", speedup=3.0, drop=0.08),
]
WORSE = trial("x", speedup=1.9, drop=0.02)
TWIN = trial("y", speedup=2.0, drop=0.02)


def names(trials):
    return ["".join(each.draft.sites) for each in trials]


def test_only_faster_plans_that_no_other_one_beats():
    assert unbeaten([LINE[2], SLOW, WORSE, LINE[0], LEVEL, LINE[1]]) == LINE
    assert unbeaten([SLOW, LEVEL]) == []
    assert names(unbeaten([LINE[1], TWIN])) == ["cd"]


@pytest.mark.parametrize(
    ("speedup", "drop", "behind"),
    [
        (0.8, 0.0, True),  # slower than the original, and no better
        (0.8, -0.01, False),
        (1.1, 0.0051, True),  # the line from the original to the first
        (1.1, 0.0049, False),
        (2.0, 0.02, True),
        (2.5, 0.0501, True),
        (2.5, 0.0499, False),
        (3.1, 0.5, False),
    ],
)
def test_behind_the_straight_lines_between_plans(speedup, drop, behind):
    assert is_behind(trial(scale=0.5, speedup=speedup, drop=drop), LINE) == behind


def test_who_beats_a_plan():
    assert beater(WORSE, LINE) is LINE[1]
    assert beater(LINE[0], LINE) is None
    assert beater(LINE[1], [LINE[1]]) is None


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        (Target(3), ["c", "cd", "cde"]),
        (Target(2), ["cd", "cde"]),  # without c, 1.2x costs 0.01 more; without cd, 2x costs 0.06
        (Target(1), ["cde"]),
        (Target(1, max_drop=1), ["cde"]),
        (Target(1, min_speedup=1.1), ["c"]),
        (Target(1, max_latency_ms=7), ["c"]),
    ],
)
def test_plans_whose_lack_costs_least_are_left_out(target, kept):
    assert names(thinned(LINE, target)) == kept
