"""The numbers that a training takes: checked before anything runs, since a run is bound to them."""

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from virtualpool.errors import VirtualPoolError


@dataclass(frozen=True)
class Limits:
    """Which numbers make sense for a setting; finite ones alone do.

    >>> LEARNING_RATE.check("learning_rate", 0.1)
    >>> LEARNING_RATE.check("learning_rate", 0)
    Traceback (most recent call last):
    virtualpool.errors.VirtualPoolError: learning_rate is 0; it must be a number above 0, ...

    Attributes:
        least: the smallest.
        most: the largest.
        has_least: whether the smallest one itself is allowed.
        has_most: whether the largest one itself is.
        whole: whether it must be a whole number.
    """

    least: float
    most: float = math.inf
    has_least: bool = False
    has_most: bool = True
    whole: bool = False

    def check(self, name: str, value: Any) -> None:
        """Refuses a value that is no number, or none of these."""
        if not self._allows(value):
            kind = "a whole number" if self.whole else "a number"
            raise VirtualPoolError(f"{name} is {value!r}; it must be {kind} {self._range}.")

    def _allows(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, Integral if self.whole else Real):
            return False
        number: Any = value  # no float of it: a whole number may be too large for one
        above = number >= self.least if self.has_least else number > self.least
        below = number <= self.most if self.has_most else number < self.most
        return above and below and number != math.inf

    @property
    def _range(self) -> str:
        above = f"of {self.least:g} or more" if self.has_least else f"above {self.least:g}"
        if self.most == math.inf:
            return f"{above}, and finite"
        return f"{above}, {'at most' if self.has_most else 'below'} {self.most:,g}"


# The upper ends are far above all use: a larger value is a slip of the keyboard.
EPOCHS = Limits(0, 1e6)
STEPS = Limits(1, 1e12, has_least=True, whole=True)
COUNT = Limits(0, 1e12, has_least=True, whole=True)
LEARNING_RATE = Limits(0, 1e3)
WEIGHT = Limits(0, has_least=True)
"""Of a part of a loss; 0 leaves the part out."""
ABOVE_ZERO = Limits(0)
PART = Limits(0, 1, has_least=True)
PART_BELOW_ONE = Limits(0, 1, has_least=True, has_most=False)
DECAY = Limits(0, 1, has_most=False)
