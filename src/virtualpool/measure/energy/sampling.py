"""A meter on a sensor of power: watts are sampled while the work is done, and integrated."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from virtualpool.measure.energy.sensor import Sensor

Sample = tuple[float, Mapping[str, float]]  # when, in seconds, and the watts of each rail


@dataclass(frozen=True)
class Sampling:
    """Reads the power in a thread of its own, every `sensor.interval` seconds, and at both ends.

    Attributes:
        sensor: the sensor that is read.
        read: gives the watts of each rail at this moment.
    """

    sensor: Sensor
    read: Callable[[], Mapping[str, float]]

    def joules(self, work: Callable[[], object]) -> dict[str, float]:
        """The mean watts during the work, by rail, times the seconds that it took."""
        samples = [self._sample()]
        with _repeated(lambda: samples.append(self._sample()), self.sensor.interval):
            start = time.perf_counter()
            work()
            seconds = time.perf_counter() - start
        samples.append(self._sample())
        return {rail: watts * seconds for rail, watts in mean_watts(samples).items()}

    def _sample(self) -> Sample:
        # A reading may take long, as of a command: it is of the middle of that time.
        start = time.perf_counter()
        watts = self.read()
        return (start + time.perf_counter()) / 2, watts


def mean_watts(samples: Sequence[Sample]) -> dict[str, float]:
    """The mean of each rail's watts over time, by trapezoids.

    >>> mean_watts([(0.0, {"VDD_IN": 10.0}), (1.0, {"VDD_IN": 20.0}), (4.0, {"VDD_IN": 20.0})])
    {'VDD_IN': 18.75}
    """
    (begin, _), (end, _) = samples[0], samples[-1]
    steps = list(itertools.pairwise(samples))
    return {
        rail: sum((t1 - t0) * (w0[rail] + w1[rail]) / 2 for (t0, w0), (t1, w1) in steps)
        / (end - begin)
        for rail in samples[0][1]
    }


@contextmanager
def _repeated(task: Callable[[], object], interval: float) -> Iterator[None]:
    """Repeats a task in a thread during the block; its errors are raised at the block's end."""
    stopped, problems = threading.Event(), []

    def repeat() -> None:
        try:
            while not stopped.wait(interval):
                task()
        except Exception as problem:
            problems.append(problem)

    thread = threading.Thread(target=repeat, name="energy", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
    if problems:
        raise problems[0]
