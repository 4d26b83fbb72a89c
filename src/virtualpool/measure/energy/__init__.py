"""Energy: sensors, meters that read them, and the joules that a model takes for an image."""

from virtualpool.measure.energy.finding import meter
from virtualpool.measure.energy.measuring import EnergyOptions, energy
from virtualpool.measure.energy.result import Energy, Share
from virtualpool.measure.energy.sensor import Meter, Sensor

__all__ = ["Energy", "EnergyOptions", "Meter", "Sensor", "Share", "energy", "meter"]
