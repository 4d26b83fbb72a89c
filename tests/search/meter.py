"""A meter of energy that can be taken away."""

from virtualpool import VirtualPoolError
from virtualpool.measure import Sensor


class Meter:
    """Gives 2 J for every block, as long as it is there."""

    sensor = Sensor("a meter", "joules", 1e-4)
    is_there = True

    def joules(self, work):
        if not self.is_there:
            raise VirtualPoolError("The meter is gone.")
        work()
        return {"total": 2.0}
