"""The report's numbers as text, and its headline: what the run's best model is worth, no more."""

from collections.abc import Sequence
from dataclasses import dataclass

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
        """A score, with its standard error if it is known.

        >>> print(Unit(percent=True).score(0.8871, 0.0103))
        88.7 ± 1.0%
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
    original, *made = points
    if not made:
        return Claim("No faster model yet", f"The original scores {_scored(original, unit)}.")
    limit = max_drop if max_drop is not None else USUAL_LIMIT * 100 / unit.factor
    allowed = f"at most {unit.number(limit)} points"
    faster = [point for point in made if point.speedup.median > 1]
    within = [point for point in faster if point.drop <= limit]
    if within:
        best = max(within, key=lambda point: point.speedup.median)
        rule = f"the fastest model that loses {allowed}"
    elif faster:
        best = min(faster, key=lambda point: point.drop)
        rule = f"the one that loses least; no faster model loses {allowed}"
    else:
        best = min(made, key=lambda point: point.drop)
        return Claim(
            "No model is faster than the original here",
            f"{title(best.name)} loses least: it scores {_scored(best, unit)} where the original "
            f"scores {_scored(original, unit)}, and takes {milliseconds(best.latency.median_ms)} "
            f"where the original takes {milliseconds(best.baseline.median_ms)}.",
            best,
        )
    return Claim(
        f"{best.speedup.median:.1f}× faster {_price(best, unit)}",
        f"{title(best.name)}, {rule}, scores {_scored(best, unit)} where the original scores "
        f"{_scored(original, unit)}, and takes {milliseconds(best.latency.median_ms)} where the "
        f"original takes {milliseconds(best.baseline.median_ms)}.",
        best,
    )


def title(name: str) -> str:
    """A model's name for people.

    >>> title("round-02"), title("original")
    ('Round 2', 'Original')
    """
    kind, _, number = name.partition("-")
    return f"{kind.capitalize()} {int(number)}" if number.isdecimal() else name.capitalize()


def milliseconds(value: float) -> str:
    """A time with three digits.

    >>> print(milliseconds(3.1416), milliseconds(1234.5))
    3.14 ms 1,234 ms
    """
    decimals = max(0, 2 - len(str(int(value))) + (value < 1)) if value >= 100 else 2 - (value >= 10)
    return f"{value:,.{decimals}f}{_SPACE}ms"


def millions(value: float) -> str:
    """A count of operations.

    >>> print(millions(281_174_016), millions(4_089_184_256))
    281 M 4.09 G
    """
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{_SPACE}{letter}"
    return f"{value:g}"


def _price(point: Point, unit: Unit) -> str:
    error = point.drop_standard_error or point.standard_error or 0
    if point.drop < -2 * error and unit.number(-point.drop) != "0.0":
        return f"and {unit.number(-point.drop)} points more accurate"
    if point.drop <= 0 or unit.number(point.drop) == "0.0":
        return "at the same accuracy"
    return f"for {unit.number(point.drop)} points of accuracy"


def _scored(point: Point, unit: Unit) -> str:
    return unit.score(point.accuracy, point.standard_error)
