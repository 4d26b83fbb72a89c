"""A cascade: a fast model answers where it is sure, the original the rest."""

from virtualpool.cascade.calibrating import Calibration
from virtualpool.cascade.cascade import Cascade
from virtualpool.cascade.times import Times

__all__ = ["Calibration", "Cascade", "Times"]
