"""The report's numbers as text, and its headline: the gain of the run's best model, no more."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from virtualpool.measure import Latency
from virtualpool.measure.latency import noise_in
from virtualpool.measure.spread import rounded_quartiles
from virtualpool.measure.unit import Unit
from virtualpool.search.frontier import Frontier, Point
from virtualpool.search.frontier.pareto import unbeaten

_SPACE = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Claim:
    """The headline, the sentence under it, and the model that both are about, if there is one."""

    headline: str
    summary: str
    point: Point | None = None


def measures(points: Sequence[Point]) -> dict[str, str]:
    """The titles of the other measures, by name; one may be the score itself by another name."""
    names = dict.fromkeys(name for point in points for name in point.metrics)
    return {
        name: name.replace("top5", "top-5")
        for name in names
        if any(_is_another(point, name) for point in points) and not name.startswith(_OF_CLASS)
    }


_OF_CLASS = "IoU of "
"""So begin the measures of single classes: they are in files, and too many for a table."""


def _is_another(point: Point, name: str) -> bool:
    return abs(point.metrics.get(name, point.accuracy) - point.accuracy) > 1e-5


def claim(points: Sequence[Point], max_drop: float | None, unit: Unit) -> Claim:
    """The headline of a run: its fastest model within the limit, else the one that loses least.

    Args:
        points: the original, then the models that were made.
        max_drop: the run's own limit, as a difference of scores; None for the unit's small drop.
        unit: of the scores.
    """
    original, made = points[0], points[1:]
    if not made:
        return Claim("No faster model yet", f"The original scores {_scored(original, unit)}.")
    limit = max_drop if max_drop is not None else unit.small_drop
    faster = [point for point in made if point.speedup.lower > 1]
    within = [point for point in faster if point.drop <= limit]
    if within:
        best = max(within, key=lambda point: point.speedup.median)
        rule = f"the fastest model that loses at most {_limit(limit, unit)}"
    elif faster:
        best = min(faster, key=lambda point: point.drop)
        rule = f"the one that loses least; no faster model loses at most {_limit(limit, unit)}"
    else:
        best = min(made, key=lambda point: point.drop)
        rule = "the model that loses least"
    speed = best.speedup.median
    taken = milliseconds(best.latency.median_ms)
    if best.is_fused and best.unfused:
        taken = f"{taken} fused, {milliseconds(best.unfused.median_ms)} unfused,"
    faster_by = f"{speed:.1f}×" if speed >= 1.1 else f"{speed:.2f}×"
    return Claim(
        f"{faster_by} faster {_price(best, unit)}"
        if faster
        else "No model is faster than the original here",
        f"{title(best.name)}, {rule}, scores {_scored(best, unit)} where the original scores "
        f"{_scored(original, unit)}, and takes {taken} where the original takes "
        f"{milliseconds(best.baseline.median_ms)}.",
        best,
    )


def title(name: str) -> str:
    """A model's name for people.

    >>> title("round-02"), title("original"), title("smaller-0.75")
    ('Round 2', 'Original', 'Smaller 0.75')
    """
    kind, _, number = name.partition("-")
    is_number = number.replace(".", "", 1).isdecimal()
    return f"{kind.capitalize()} {float(number):g}" if is_number else name.capitalize()


def beside_smaller(frontier: Frontier) -> str:
    """Which is ahead at equal measured speed: the pooled models, or the ones on smaller images."""
    if not frontier.smaller:
        return "The model takes no smaller images: there is nothing to compare with."
    lead, unit = frontier.lead, frontier.unit
    if not lead:
        return _apart(unbeaten(frontier.points[1:]), unbeaten(frontier.smaller), unit)
    ends = dict.fromkeys(f"{speed:.2f}×" for speed, _ in (lead[0], lead[-1]))
    errors = [point.standard_error or 0 for point in (*frontier.points, *frontier.smaller)]
    error = f" A score has a standard error of up to {unit.number(max(errors))}."
    return (
        f"At equal measured speed ({' to '.join(ends)}, read off straight lines between models) "
        f"{_ahead(lead, unit)}.{error if any(errors) else ''}"
    )


def unfused(point: Point) -> str:
    """Why a model is unfused though it was to be fused."""
    if point.fused is None:
        return f"It is unfused: {point.missing.get('fused', 'fused it was not timed')}"
    speedup = point.speedup_of(point.fused)
    return f"It is unfused, for fused it is slower: {speedup} over the original."


def noise(points: Sequence[Point]) -> str:
    """Which models have an uncertain speed-up, in two sentences; empty where none has."""
    return noise_in({title(point.name).lower(): point.speedup for point in points})


def milliseconds(value: float) -> str:
    r"""A time with three significant digits.

    >>> milliseconds(3.1416), milliseconds(1234.5)
    ('3.14\xa0ms', '1,234\xa0ms')
    """
    return f"{value:,.{_decimals(value)}f}{_SPACE}ms"


def joules(samples: Sequence[float]) -> tuple[str, str]:
    r"""The median of joules, and their quartiles in the same unit, with three significant digits.

    >>> joules([0.41, 0.42, 0.44]), joules([0.0031])
    (('0.420\xa0J', '0.415 to 0.430'), ('3.10\xa0mJ', '3.10 to 3.10'))
    """
    size, letter = (1.0, "J") if max(samples) >= 0.1 else (1e-3, "mJ")
    lower, median, upper = rounded_quartiles([sample / size for sample in samples])
    return f"{median}{_SPACE}{letter}", f"{lower} to {upper}"


def quartiles(latency: Latency) -> str:
    """The quartiles of a latency, with as many digits as its median.

    >>> from virtualpool.measure import Setting
    >>> setting = Setting("cpu", "Intel Xeon", "float32", 1, 2, "eager", True, "2.9.0")
    >>> quartiles(Latency((3.9, 4.0, 4.2), setting))
    '3.95 to 4.10'
    """
    decimals = _decimals(latency.median_ms)
    return f"{latency.lower_ms:.{decimals}f} to {latency.upper_ms:.{decimals}f}"


def millions(value: float) -> str:
    r"""A count of operations with three significant digits.

    >>> millions(281_174_016), millions(4_089_184_256)
    ('281\xa0M', '4.09\xa0G')
    """
    size, letter = (1e9, "G") if value >= 1e9 else (1e6, "M")
    return f"{value / size:.3g}{_SPACE}{letter}"


def _decimals(value: float) -> int:
    return max(0, 2 - math.floor(math.log10(value)))


def _price(point: Point, unit: Unit) -> str:
    error = point.drop_standard_error or point.standard_error or 0
    is_seen = unit.number(point.drop) != unit.number(0)
    if point.drop < -2 * error and is_seen:
        return f"and better by {_amount(unit.number(-point.drop), unit)}"
    if point.drop <= 0 or not is_seen:
        return f"at the same {unit.name}"
    return f"for {_amount(unit.number(point.drop), unit)}"


def _amount(number: str, unit: Unit) -> str:
    return f"{number} points of {unit.name}" if unit.percent else f"{number} {unit.name}"


def _limit(drop: float, unit: Unit) -> str:
    count = f"{drop * unit.factor:.3g}"
    points = "point" if count == "1" else "points"
    return f"{count} {points}" if unit.percent else count


def _ahead(lead: Sequence[tuple[float, float]], unit: Unit) -> str:
    """Who leads, and by how much."""
    most, least = (choose(lead, key=lambda pair: pair[1]) for choose in (max, min))
    ours, theirs = (unit.number(value) for value in (max(0, most[1]), max(0, -least[1])))
    nothing = unit.number(0)
    if ours == theirs == nothing:
        return "the two score the same"
    if nothing not in (ours, theirs):
        return (
            f"neither is ahead throughout: pooled models by up to {_amount(ours, unit)}, at "
            f"{most[0]:.2f}×, and smaller images by up to {_amount(theirs, unit)}, at "
            f"{least[0]:.2f}×"
        )
    who = "pooled models are" if theirs == nothing else "smaller images are"
    low, high = map(unit.number, sorted(abs(value) for _, value in (most, least)))
    by = "up to " if low == nothing else "" if low == high else f"{low} to "
    return f"{who} ahead, by {by}{_amount(high, unit)}"


def _apart(pooled: Sequence[Point], smaller: Sequence[Point], unit: Unit) -> str:
    """The text for two lines that share no speed; both are by rising speed."""
    said = (
        "Pooled models and smaller images cannot be compared at equal speed, for their speeds do "
        f"not overlap: {_speeds(pooled)} and {_speeds(smaller)}."
    )
    who, fast, slow = "Pooled models", pooled, smaller
    if pooled[-1].speedup.median < smaller[0].speedup.median:
        who, fast, slow = "Smaller images", smaller, pooled
    if fast[0].accuracy < slow[0].accuracy:
        return said
    return (
        f"{said} {who} are ahead all the same: they are faster, and the best of them scores "
        f"{_scored(fast[0], unit)} where the best of the others scores {_scored(slow[0], unit)}."
    )


def _speeds(points: Sequence[Point]) -> str:
    ends = (points[0], points[-1])
    return " to ".join(dict.fromkeys(f"{point.speedup.median:.2f}×" for point in ends))


def _scored(point: Point, unit: Unit) -> str:
    return unit.score(point.accuracy, point.standard_error)
