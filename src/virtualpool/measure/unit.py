"""The meaning of a score, and how people write it."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import msgspec

from virtualpool.schema import converted

_SPACE = "\N{NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Unit:
    r"""The meaning of a score, and how people write it: an evaluation gives it to its scores.

    >>> Unit("accuracy").score(0.8871, 0.0103)
    '88.7\xa0±\xa01.0%'
    >>> Unit("mAP at 0.5", percent=False, decimals=3).score(0.7132, 0.0103)
    '0.713\xa0±\xa00.010'

    Attributes:
        name: the measure's name, such as "accuracy".
        percent: whether scores are shares of one that are written in per cent, and their
            differences in points; others are written as they are.
        decimals: how many are written.
    """

    name: str
    percent: bool = True
    decimals: Annotated[int, msgspec.Meta(ge=0, le=12)] = 1

    @classmethod
    def guessed(cls, scores: Iterable[float]) -> "Unit":
        """The unit of scores that came without one: shares of one are taken for an accuracy.

        >>> Unit.guessed([0.887, 0.85]).name, Unit.guessed([76.1]).name
        ('accuracy', 'score')
        """
        are_shares = all(-1 <= score <= 1 for score in scores)
        return cls("accuracy") if are_shares else cls("score", percent=False)

    @property
    def title(self) -> str:
        """The name at the beginning of a sentence.

        >>> Unit("accuracy").title, Unit("mAP at 0.5").title
        ('Accuracy', 'mAP at 0.5')
        """
        return self.name.capitalize() if self.name.islower() else self.name

    @property
    def factor(self) -> float:
        """The factor that turns a score into people's number."""
        return 100.0 if self.percent else 1.0

    @property
    def small_drop(self) -> float:
        """A drop that is small to people: ten of the last digit that is written.

        >>> Unit("accuracy").small_drop, Unit("mAP", percent=False, decimals=3).small_drop
        (0.01, 0.01)
        """
        return 10 ** (1 - self.decimals) / self.factor

    def score(self, value: float, error: float | None = None) -> str:
        """A score, with its standard error if it is known."""
        return f"{self.number(value)}{self.plus_minus(error)}{'%' if self.percent else ''}"

    def number(self, value: float) -> str:
        """A score without its sign for per cent.

        >>> Unit("accuracy").number(-0.0001), Unit("score", percent=False).number(76.13)
        ('0.0', '76.1')
        """
        return self.scaled(value * self.factor)

    def scaled(self, value: float) -> str:
        """A score that has been multiplied by the factor already."""
        rounded = round(value, self.decimals) + 0.0
        return f"{rounded:.{self.decimals}f}".replace("-", _MINUS)

    def plus_minus(self, error: float | None) -> str:
        """A standard error; nothing where it is not known."""
        return "" if error is None else f"{_SPACE}±{_SPACE}{self.number(error)}"

    def to_json(self) -> dict[str, Any]:
        """A JSON-able value."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> "Unit":
        """The unit of a JSON value."""
        return converted(value, cls)
