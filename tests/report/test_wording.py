from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from virtualpool.measure import Latency, Speedup
from virtualpool.measure.latency import STEADY
from virtualpool.report.wording import (
    beside_smaller,
    claim,
    measures,
    milliseconds,
    noise,
    title,
    unfused,
)
from virtualpool.search import Frontier, Point, Unit

PERCENT = Unit("accuracy")


@pytest.mark.parametrize(
    ("models", "max_drop", "headline", "named"),
    [
        ([], None, "No faster model yet", None),
        ([(0.003, 1.4), (0.008, 2.3), (0.024, 2.9)], None, "2.3× faster for 0.8 points", 2),
        ([(0.003, 1.4), (0.008, 2.3), (0.024, 2.9)], 0.03, "2.9× faster for 2.4 points", 3),
        ([(0.003, 1.4), (0.008, 2.3)], 0.005, "1.4× faster for 0.3 points", 1),
        ([(0.05, 1.4), (0.08, 2.3)], None, "1.4× faster for 5.0 points", 1),
        ([(0.0001, 1.5)], None, "1.5× faster at the same accuracy", 1),
        ([(-0.004, 1.5)], None, "1.5× faster at the same accuracy", 1),
        ([(-0.02, 1.5)], None, "1.5× faster and better by 2.0 points of accuracy", 1),
        ([(0.003, 0.9), (0.008, 0.8)], None, "No model is faster than the original here", 1),
        ([(0.003, 1.02)], None, "No model is faster", 1),  # its lower quartile is below one
        ([(0.003, 1.05)], None, "1.05× faster for 0.3 points", 1),
        ([(0.003, 0.9), (0.03, 1.2)], None, "1.2× faster for 3.0 points", 2),
    ],
)
def test_the_headline_says_what_the_run_is_worth_and_no_more(
    make_point: Callable[..., Point],
    models: list[tuple[float, float]],
    max_drop: float | None,
    headline: str,
    named: int | None,
) -> None:
    points = [make_point("original", 0.0, 1.0, [])]
    for index, (drop, speedup) in enumerate(models, 1):
        points.append(make_point(f"round-{index:02d}", drop, speedup, ["a"]))
    said = claim(points, max_drop, PERCENT)
    assert said.headline.startswith(headline)
    assert said.point is (None if named is None else points[named])


def test_noise_names_the_models_whose_speed_is_uncertain(make_point: Callable[..., Point]) -> None:
    points = [make_point(name, 0.0, 2.0, ["a"]) for name in ("original", "round-01", "round-02")]
    assert noise(points) == ""
    points[1:] = [replace(it, speedup=Speedup(2.0, 1.8, 1.8 * STEADY + 0.01)) for it in points[1:]]
    assert "the speed-ups of round 1, round 2 have " in noise(points)
    assert noise(points[:1] + points[2:]).startswith(
        "The machine was busy: the speed-ups of round 2"
    )


def test_other_measures_are_those_that_are_not_the_score(make_point: Callable[..., Point]) -> None:
    original = make_point("original", 0.0, 1.0, [])
    assert measures([original]) == {"top5": "top-5"}
    assert measures([replace(original, metrics={"mAP": 0.4})]) == {"mAP": "mAP"}
    assert measures([]) == {}


def test_the_summary_names_its_rule_and_both_models(make_point: Callable[..., Point]) -> None:
    points = [make_point("original", 0.0, 1.0, []), make_point("round-01", 0.008, 2.0, ["a"])]
    summary = claim(points, None, PERCENT).summary.replace("\N{NO-BREAK SPACE}", " ")
    assert summary == (
        "Round 1, the fastest model that loses at most 1 point, scores 87.9 ± 1.0% where the "
        "original scores 88.7 ± 1.0%, and takes 4.55 ms where the original takes 9.10 ms."
    )
    far = claim([points[0], make_point("round-01", 0.2, 2.0, ["a"])], 0.02, PERCENT)
    assert "no faster model loses at most 2 points" in far.summary


def test_scores_that_are_no_shares_of_one_are_written_as_they_are(
    make_point: Callable[..., Point],
) -> None:
    original = replace(make_point("original", 0.0, 1.0, []), accuracy=76.1, standard_error=None)
    pooled = replace(make_point("round-01", 0.6, 2.0, ["a"]), accuracy=75.5, standard_error=None)
    unit = Unit.guessed([original.accuracy, pooled.accuracy])
    said = claim([original, pooled], None, unit)
    assert said.headline == "2.0× faster for 0.6 score"
    assert "scores 75.5 where the original scores 76.1" in said.summary


@pytest.mark.parametrize(
    ("drop", "headline"),
    [
        (0.0094, "2.0× faster for 0.009 mAP at 0.5"),
        (0.0004, "2.0× faster at the same mAP at 0.5"),
        (-0.024, "2.0× faster and better by 0.024 mAP at 0.5"),
    ],
)
def test_other_scores_are_told_by_their_name(
    make_point: Callable[..., Point], drop: float, headline: str
) -> None:
    unit = Unit("mAP at 0.5", percent=False, decimals=3)
    said = claim(
        [make_point("original", 0.0, 1.0, []), make_point("round-01", drop, 2.0, ["a"])], None, unit
    )
    assert said.headline == headline
    summary = said.summary.replace("\N{NO-BREAK SPACE}", " ")
    assert "the fastest model that loses at most 0.01, scores 0." in summary
    assert "where the original scores 0.887 ± 0.010, and takes" in summary


def test_the_summary_of_a_fused_model_has_both_of_its_times(
    make_point: Callable[..., Point], make_forms: Callable[..., dict[str, Latency]]
) -> None:
    fused = make_point("round-01", 0.008, 2.0, ["a"], **make_forms(fused=2.0, unfused=1.5))
    summary = claim([make_point("original", 0.0, 1.0, []), fused], None, PERCENT).summary
    assert summary.replace("\N{NO-BREAK SPACE}", " ").endswith(
        "and takes 4.55 ms fused, 6.07 ms unfused, where the original takes 9.10 ms."
    )


def test_why_a_model_is_unfused(
    make_point: Callable[..., Point], make_forms: Callable[..., dict[str, Latency]]
) -> None:
    slower = make_point("round-01", 0.0, 2.0, ["a"], **make_forms(fused=1.5, unfused=2.0))
    assert unfused(slower) == (
        "It is unfused, for fused it is slower: 1.50x (1.50 to 1.50) over the original."
    )
    failed = replace(slower, fused=None, missing={"fused": "it has hooks"})
    assert unfused(failed) == "It is unfused: it has hooks"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("round-12", "Round 12"),
        ("original", "Original"),
        ("my-own", "My-own"),
        ("smaller-0.625", "Smaller 0.625"),
    ],
)
def test_titles(name: str, expected: str) -> None:
    assert title(name) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.01234, "0.0123"), (0.95, "0.950"), (9.1, "9.10"), (42.06, "42.1"), (1234.5, "1,234")],
)
def test_times_have_three_digits(value: float, expected: str) -> None:
    assert milliseconds(value) == f"{expected}\N{NO-BREAK SPACE}ms"


RANGE = "At equal measured speed (1.50× to 2.50×, read off straight lines between models) "
LEADS = {
    "ahead": ([(0.01, 2.0)], [(0.02, 1.5), (0.03, 2.5)], "(2.00×, read off straight lines between "
              "models) pooled models are ahead, by 1.5 points of accuracy."),
    "ahead by more or less": (
        [(0.00, 1.5), (0.01, 2.5)], [(0.005, 1.5), (0.03, 2.5)],
        f"{RANGE}pooled models are ahead, by 0.5 to 2.0 points of accuracy.",
    ),
    "behind": (
        [(0.02, 1.5), (0.05, 2.5)], [(0.02, 1.5), (0.03, 2.5)],
        f"{RANGE}smaller images are ahead, by up to 2.0 points of accuracy.",
    ),
    "neither": (
        [(0.00, 1.5), (0.05, 2.5)], [(0.01, 1.5), (0.03, 2.5)],
        f"{RANGE}neither is ahead throughout: pooled models by up to 1.0 points of accuracy, at "
        "1.50×, and smaller images by up to 2.0 points of accuracy, at 2.50×.",
    ),
    "the same": (
        [(0.01, 1.5), (0.02, 2.5)], [(0.0101, 1.5), (0.0199, 2.5)],
        f"{RANGE}the two score the same.",
    ),
    "no overlap": (
        [(0.00, 1.2), (0.02, 1.4)], [(0.01, 1.5), (0.03, 2.5)],
        "speed, for their speeds do not overlap: 1.20× to 1.40× and 1.50× to 2.50×.",
    ),
    "no overlap, and better": (
        [(0.02, 1.2), (0.03, 1.1)], [(0.01, 1.5), (0.03, 2.5)],
        "do not overlap: 1.20× and 1.50× to 2.50×. Smaller images are ahead all the same: they are "
        "faster, and the best of them scores 87.7 ± 1.0% where the best of the others scores "
        "86.7 ± 1.0%.",
    ),
    "no overlap, and pooled ones are better": (
        [(0.01, 2.6)], [(0.01, 1.5), (0.03, 2.5)],
        "2.60× and 1.50× to 2.50×. Pooled models are ahead all the same: they are faster, and",
    ),
    "no overlap, and pooled ones are faster": (
        [(0.04, 2.6)], [(0.01, 1.5), (0.03, 2.5)], "do not overlap: 2.60× and 1.50× to 2.50×.",
    ),
    "nothing": ([(0.01, 1.2)], [], "The model takes no smaller images: there is nothing to "),
}  # fmt: skip


@pytest.mark.parametrize(("pooled", "smaller", "said"), LEADS.values(), ids=LEADS)
def test_which_is_ahead_at_equal_speed(
    make_point: Callable[..., Point],
    pooled: list[tuple[float, float]],
    smaller: list[tuple[float, float]],
    said: str,
) -> None:
    points = [make_point("original", 0.0, 1.0, [])]
    points += [make_point(f"round-{drop}", drop, speed, ["a"]) for drop, speed in pooled]
    others = [make_point(f"smaller-{drop}", drop, speed, []) for drop, speed in smaller]
    frontier = Frontier(tuple(points), Path(), tuple(others), {"smaller-0.5": "one size"})
    text = beside_smaller(frontier).replace("\N{NO-BREAK SPACE}", " ")
    assert said in text
    assert ("all the same" in text) == ("all the same" in said)
    assert ("A score has a standard error of up to 1.0." in text) == bool(frontier.lead)
    unsure = tuple(replace(point, standard_error=None) for point in (*points, *others))
    without = Frontier(unsure[: len(points)], Path(), unsure[len(points) :], {})
    assert "standard error" not in beside_smaller(without)
