"""The target of a search: how many models, and the one bound that they are to keep."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from virtualpool.errors import VirtualPoolError
from virtualpool.recover.limits import ABOVE_ZERO, Limits
from virtualpool.words import count

_POINTS = Limits(1, 1000, has_least=True, whole=True)
_DROP = Limits(-math.inf)
_BOUNDS = {"min_speedup": ABOVE_ZERO, "max_drop": _DROP, "max_latency_ms": ABOVE_ZERO}


@dataclass(frozen=True)
class Target:
    """The target of a search: a number of models, within one bound or none.

    >>> print(Target(4, min_speedup=2))
    4 models with a speed-up of 2x or more
    >>> Target(min_speedup=2, max_drop=0.01)
    Traceback (most recent call last):
    virtualpool.errors.VirtualPoolError: A target has one bound, not min_speedup and max_drop. ...

    Attributes:
        points: how many models at most, besides the original.
        min_speedup: how many times faster than the original each must be at least.
        max_drop: how much of the score each may lose at most, in the score's own unit (0.01 is one
            point of an accuracy between 0 and 1).
        max_latency_ms: the most milliseconds of a call, by the median.

    Raises:
        VirtualPoolError: a number is none of these, or there are two bounds.
    """

    points: int = 6
    min_speedup: float | None = None
    max_drop: float | None = None
    max_latency_ms: float | None = None

    def __post_init__(self) -> None:
        _POINTS.check("points", self.points)
        given = [name for name in _BOUNDS if getattr(self, name) is not None]
        for name in given:
            _BOUNDS[name].check(name, getattr(self, name))
        if len(given) > 1:
            raise VirtualPoolError(
                f"A target has one bound, not {' and '.join(given)}. Give one, and pick by the "
                "others from the frontier."
            )

    def excess(self, *, drop: float, speedup: float, latency_ms: float) -> float:
        """How far a model is outside of the bound, as a part of it; 0 or less within."""
        if self.min_speedup is not None:
            return 1 - speedup / self.min_speedup
        if self.max_latency_ms is not None:
            return latency_ms / self.max_latency_ms - 1
        if self.max_drop is not None:
            return (drop - self.max_drop) / max(abs(self.max_drop), 1e-3)
        return 0.0

    @property
    def bound(self) -> str:
        """The bound in words; empty where there is none."""
        if self.min_speedup is not None:
            return f"a speed-up of {self.min_speedup:g}x or more"
        if self.max_latency_ms is not None:
            return f"at most {self.max_latency_ms:g} ms"
        return "" if self.max_drop is None else f"a drop of at most {self.max_drop:g}"

    def __str__(self) -> str:
        return count(self.points, "model") + (f" with {self.bound}" if self.bound else "")

    def to_json(self) -> dict[str, Any]:
        """A JSON-able value."""
        return {name: value for name, value in asdict(self).items() if value is not None}
