"""Times of several functions interleaved, and how they are written."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy
import torch

from virtualpool.measure.timing import interleaved

CPU = torch.device("cpu")
_REPEATS = 7
_BLOCK_MS = 50  # the least time of a sample


def timed_interleaved(
    functions: dict[str, Callable[[], Any]], duration_s: float, device: torch.device = CPU
) -> dict[str, tuple[float, ...]]:
    """Milliseconds per call of functions, each timed once in every repeat.

    Args:
        functions: of nothing, by name.
        duration_s: about the seconds per function; 7 repeats at least.
        device: the device that they keep busy.
    """
    samples: list[tuple[float, ...]] = [()] * len(functions)
    while any(_spent(each) < duration_s for each in samples):
        more = interleaved([*functions.values()], device, _REPEATS, duration_s=None)
        samples = [old + new for old, new in zip(samples, more, strict=True)]
    return dict(zip(functions, samples, strict=True))


def _spent(samples_ms: Sequence[float]) -> float:
    # Not by the clock: where a virtual machine stands still for minutes, the clock goes on, and all
    # of the time would be gone with it. A median does not see one such sample.
    return len(samples_ms) * max(_BLOCK_MS, median(samples_ms)) / 1e3 if samples_ms else 0.0


def median(samples_ms: Sequence[float]) -> float:
    return float(numpy.median(samples_ms))


def three_digits(number: float) -> str:
    """Three significant digits, and all digits before the point.

    >>> three_digits(33.04), three_digits(0.5), three_digits(2201.4)
    ('33.0', '0.500', '2201')
    """
    return f"{number:.{max(0, 2 - math.floor(math.log10(number)))}f}"
