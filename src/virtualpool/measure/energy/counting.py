"""A meter on a sensor that counts joules by itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from virtualpool.errors import VirtualPoolError
from virtualpool.measure.energy.sensor import Sensor


@dataclass(frozen=True)
class Counting:
    """Reads a counter before and after the work.

    Attributes:
        sensor: the sensor that is read.
        read: gives the joules of each rail since some moment in the past.
        wraps_at: of rails whose counter begins anew, the joules at which it does. Work must take
            less than that.

    >>> readings = iter([{"package-0": 90.0}, {"package-0": 15.0}])
    >>> sensor = Sensor("a counter", "joules", 0.001)
    >>> Counting(sensor, lambda: next(readings), {"package-0": 100.0}).joules(lambda: None)
    {'package-0': 25.0}
    """

    sensor: Sensor
    read: Callable[[], Mapping[str, float]]
    wraps_at: Mapping[str, float] = field(default_factory=dict)

    def joules(self, work: Callable[[], object]) -> dict[str, float]:
        """The joules that were counted during the work, by rail."""
        before = self.read()
        work()
        after = self.read()
        return {rail: self._counted(rail, before[rail], after[rail]) for rail in before}

    def _counted(self, rail: str, before: float, after: float) -> float:
        if after >= before:
            return after - before
        if rail not in self.wraps_at:
            raise VirtualPoolError(
                f"{self.sensor.name}: the joules of {rail} went from {before:g} back to {after:g}; "
                "a counter of energy only grows. It was reset meanwhile, or gives watts."
            )
        return after + self.wraps_at[rail] - before
