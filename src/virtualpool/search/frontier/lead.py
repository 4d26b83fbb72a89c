"""How far one set of models is ahead of another at equal speed."""

from collections.abc import Sequence

import numpy as np

Line = Sequence[tuple[float, float]]
"""(speed, score) pairs by rising speed, with straight lines between them."""


def lead(one: Line, other: Line) -> tuple[tuple[float, float], ...]:
    """How much higher one line is than another, at the speeds that both reach.

    Args:
        one: is ahead where it scores more.
        other: the line to compare it with.

    Returns:
        (speed, difference) pairs at both ends of the shared speeds and at every bend of either
        between: the largest and smallest difference are among them. Nothing if they share nothing.

    >>> lead([(1.0, 80.0), (3.0, 70.0)], [(2.0, 74.0), (4.0, 72.0)])
    ((2.0, 1.0), (3.0, -3.0))
    """
    if not one or not other:
        return ()
    low, high = max(one[0][0], other[0][0]), min(one[-1][0], other[-1][0])
    speeds = sorted({speed for speed, _ in (*one, *other) if low <= speed <= high})
    return tuple((speed, _score(one, speed) - _score(other, speed)) for speed in speeds)


def _score(line: Line, speed: float) -> float:
    speeds, scores = zip(*line, strict=True)
    return float(np.interp(speed, speeds, scores))
