"""Timing functions side by side, warm, in blocks of calls."""

import random
import time
import timeit
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

T = TypeVar("T")

# A block of calls lasts at least this long: then the clock and single interruptions count little.
_BLOCK_SECONDS = 0.05
_FEWEST_REPEATS = 3


class Block:
    """Calls of one function that are timed together."""

    def __init__(self, function: Callable[[], Any], device: torch.device) -> None:
        self._timer = timeit.Timer(function, timer=clock(device))
        self._timer.timeit(2)
        self.calls = 1
        while self._timer.timeit(self.calls) < _BLOCK_SECONDS:
            self.calls *= 2

    def milliseconds(self) -> float:
        """Time per call, after one call that is not timed."""
        self._timer.timeit(1)
        return 1e3 * self.run() / self.calls

    def run(self) -> float:
        """Does all of its calls; gives the seconds that they took."""
        return self._timer.timeit(self.calls)


def interleaved(
    functions: list[Callable[[], Any]], device: torch.device, repeats: int, duration_s: float | None
) -> list[tuple[float, ...]]:
    """Times functions interleaved: each once in every repeat, in a new order every time.

    Args:
        functions: of nothing.
        device: the device that they keep busy; it is waited for at both ends of a block.
        repeats: samples per function, at most.
        duration_s: seconds per function after which no further repeat begins, though never before
            3 of them.

    Returns:
        For each function its samples, in milliseconds per call.
    """
    blocks = [Block(function, device) for function in functions]
    return alternated([block.milliseconds for block in blocks], repeats, duration_s)


def alternated(
    blocks: Sequence[Callable[[], T]], repeats: int, duration_s: float | None = None
) -> list[tuple[T, ...]]:
    """Measures each block once in every repeat, in a new order every time; see `interleaved`."""
    results: list[list[T]] = [[] for _ in blocks]
    shuffle = random.Random(0)
    start = time.perf_counter()
    for finished in range(repeats):
        spent = time.perf_counter() - start
        enough = finished >= _FEWEST_REPEATS
        if duration_s is not None and enough and spent > duration_s * len(blocks):
            break
        for index in shuffle.sample(range(len(blocks)), len(blocks)):
            results[index].append(blocks[index]())
    return [tuple(result) for result in results]


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Sets the number of torch's threads for a while; None leaves it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def clock(device: torch.device) -> Callable[[], float]:
    """A clock, in seconds, that waits until a device has finished its work."""
    if device.type == "cpu":
        return time.perf_counter

    def synchronised() -> float:
        torch.accelerator.synchronize(device)
        return time.perf_counter()

    return synchronised
