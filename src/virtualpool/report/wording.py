"""The report's numbers as text, and its headline: what the run's best model is worth, no more."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from virtualpool.measure import Latency
from virtualpool.measure.spread import rounded_quartiles
from virtualpool.search.frontier import Point

USUAL_LIMIT = 0.01
"""The drop that the headline allows where the run has no limit of its own: one point."""

_SPACE = "\N{NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Unit:
    """How scores are written: shares of one as percent and points, other scores as they are."""

    percent: bool

    @classmethod
    def of(cls, scores: Sequence[float]) -> "Unit":
        """The unit for some scores.

        >>> Unit.of([0.887, 0.85]), Unit.of([76.1])
        (Unit(percent=True), Unit(percent=False))
        """
        return cls(all(-1 <= score <= 1 for score in scores))

    @property
    def factor(self) -> float:
        """What a score is multiplied by for people."""
        return 100.0 if self.percent else 1.0

    def score(self, value: float, error: float | None = None) -> str:
        r"""A score, with its standard error if it is known.

        >>> Unit(percent=True).score(0.8871, 0.0103)
        '88.7\xa0±\xa01.0%'
        """
        sign = "%" if self.percent else ""
        return f"{self.number(value)}{self.plus_minus(error)}{sign}"

    def number(self, value: float) -> str:
        """A score without its sign for percent.

        >>> Unit(percent=True).number(-0.0001), Unit(percent=False).number(76.13)
        ('0.0', '76.1')
        """
        rounded = round(value * self.factor, 1) + 0.0
        return f"{rounded:.1f}".replace("-", _MINUS)

    def plus_minus(self, error: float | None) -> str:
        """A standard error; nothing where it is not known."""
        return "" if error is None else f"{_SPACE}±{_SPACE}{self.number(error)}"


@dataclass(frozen=True)
class Claim:
    """The headline, the sentence under it, and the model that both are about, if there is one."""

    headline: str
    summary: str
    point: Point | None = None


def claim(points: Sequence[Point], max_drop: float | None, unit: Unit) -> Claim:
    """What can be said of a run: its fastest model within the limit, else the one that loses least.

    Args:
        points: the original, then the models that were made.
        max_drop: the run's own limit, in the score's unit; None for `USUAL_LIMIT`.
        unit: of the scores.
    """
    original, made = points[0], points[1:]
    if not made:
        return Claim("No faster model yet", f"The original scores {_scored(original, unit)}.")
    limit = max_drop if max_drop is not None else USUAL_LIMIT * 100 / unit.factor
    faster = [point for point in made if point.speedup.lower > 1]
    within = [point for point in faster if point.drop <= limit]
    if within:
        best = max(within, key=lambda point: point.speedup.median)
        rule = f"the fastest model that loses at most {_points(limit, unit)}"
    elif faster:
        best = min(faster, key=lambda point: point.drop)
        rule = f"the one that loses least; no faster model loses at most {_points(limit, unit)}"
    else:
        best = min(made, key=lambda point: point.drop)
        rule = "the model that loses least"
    speed = best.speedup.median
    taken = milliseconds(best.latency.median_ms)
    if best.is_fused and best.as_written:
        taken = f"{taken} fused, {milliseconds(best.as_written.median_ms)} as written,"
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

    >>> title("round-02"), title("original")
    ('Round 2', 'Original')
    """
    kind, _, number = name.partition("-")
    return f"{kind.capitalize()} {int(number)}" if number.isdecimal() else name.capitalize()


def as_written(point: Point) -> str:
    """Why a model is as written though it was to be fused."""
    if point.fused is None:
        return f"It is as written: {point.missing.get('fused', 'fused it was not timed')}"
    speedup = point.speedup_of(point.fused)
    return f"It is as written, for fused it is slower: {speedup} over the original."


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
    if point.drop < -2 * error and unit.number(-point.drop) != "0.0":
        return f"and {unit.number(-point.drop)} points more accurate"
    if point.drop <= 0 or unit.number(point.drop) == "0.0":
        return "at the same accuracy"
    return f"for {unit.number(point.drop)} points of accuracy"


def _points(drop: float, unit: Unit) -> str:
    count = f"{drop * unit.factor:.3g}"
    return f"{count} {'point' if count == '1' else 'points'}"


def _scored(point: Point, unit: Unit) -> str:
    return unit.score(point.accuracy, point.standard_error)
