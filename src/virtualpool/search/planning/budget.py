"""The time that a search may take."""

import math
import re
from time import monotonic

from virtualpool.errors import VirtualPoolError
from virtualpool.processes import agreed
from virtualpool.recover.limits import ABOVE_ZERO
from virtualpool.words import in_words

_UNITS = {"s": 1, "m": 60, "h": 3600}


class OutOfBudget(Exception):  # noqa: N818  (no error: the search ends with what it has)
    """No new plan is begun."""


class Budget:
    """The seconds of this start of a search, from now on; None for any number."""

    def __init__(self, seconds: float | None) -> None:
        if seconds is not None:
            ABOVE_ZERO.check("budget", seconds)
        self.seconds, self._began = seconds, monotonic()

    @property
    def elapsed(self) -> float:
        """The seconds that have gone by; of several processes, in the main one."""
        return agreed(monotonic() - self._began)

    def left(self, share: float = 1.0) -> float:
        """The seconds left of the budget, or of a share of it; infinite without one."""
        return math.inf if self.seconds is None else share * self.seconds - self.elapsed


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


def within(seconds: float | None) -> str:
    """In what time something is to be done: the end of a sentence, empty without a budget.

    >>> within(90)
    ', in 1.5 min, but one plan and one model however long they take'
    """
    if seconds is None:
        return ""
    return f", in {in_words(seconds)}, but one plan and one model however long they take"
