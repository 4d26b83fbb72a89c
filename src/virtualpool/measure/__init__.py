"""Measuring models: latency, energy and multiply-accumulates."""

from virtualpool.measure.compiling import can_compile
from virtualpool.measure.energy import Energy, Meter, Sensor, Share, energy, meter
from virtualpool.measure.half_resolution import at_half_resolution
from virtualpool.measure.latency import Latency, Speedup, latency
from virtualpool.measure.macs import macs
from virtualpool.measure.setting import Setting

__all__ = [
    "Energy",
    "Latency",
    "Meter",
    "Sensor",
    "Setting",
    "Share",
    "Speedup",
    "at_half_resolution",
    "can_compile",
    "energy",
    "latency",
    "macs",
    "meter",
]
