"""The time that a search may take."""

import re
from time import monotonic

from virtualpool.errors import VirtualPoolError
from virtualpool.recover.limits import ABOVE_ZERO

_UNITS = {"s": 1, "m": 60, "h": 3600}


class OutOfBudget(Exception):  # noqa: N818  (no error: the search ends with what it has)
    """No new plan is begun."""


class Budget:
    """The seconds of this start of a search, from now on; None for any number."""

    def __init__(self, seconds: float | None) -> None:
        if seconds is not None:
            ABOVE_ZERO.check("budget", seconds)
        self._seconds, self._began = seconds, monotonic()

    @property
    def elapsed(self) -> float:
        """The seconds that have gone by."""
        return monotonic() - self._began

    def allows(self, seconds: float, share: float = 1.0) -> bool:
        """Whether so many seconds more are within the budget, or within a share of it."""
        if self._seconds is None:
            return True
        return self.elapsed + seconds <= share * self._seconds


def seconds_of(text: str) -> float:
    """A time such as 2h, 30m or 90s, in seconds; a number alone is one of seconds.

    >>> seconds_of("2h"), seconds_of("1.5m"), seconds_of("90")
    (7200.0, 90.0, 90.0)

    Raises:
        VirtualPoolError: it is no time.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if found is None or not float(found[1]):
        raise VirtualPoolError(f"{text!r:.40} is no time. Give one such as 2h, 30m or 90s.")
    return float(found[1]) * _UNITS[found[2] or "s"]


def in_words(seconds: float) -> str:
    """About how long, for people.

    >>> in_words(40), in_words(500), in_words(9000)
    ('40 s', '8 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
