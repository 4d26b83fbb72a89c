"""How samples spread: their quartiles, and how many digits of them are worth writing."""

import math
from collections.abc import Sequence

import numpy


def quartiles(samples: Sequence[float]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper quartile.

    >>> quartiles([4, 1, 3, 2, 5])
    (2.0, 3.0, 4.0)
    """
    lower, median, upper = numpy.quantile(samples, (0.25, 0.5, 0.75)).tolist()
    return lower, median, upper


def rounded_quartiles(samples: Sequence[float]) -> tuple[str, str, str]:
    """The quartiles of positive samples as texts, with three significant digits of the median.

    >>> rounded_quartiles([11.9, 12.3, 12.9])
    ('12.1', '12.3', '12.6')
    """
    found = quartiles(samples)
    decimals = max(0, 2 - math.floor(math.log10(found[1])))
    lower, median, upper = (f"{value:.{decimals}f}" for value in found)
    return lower, median, upper
