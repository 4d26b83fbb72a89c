"""The method: sensitivity, the rounds of Algorithm 1, recovery, and the frontier that results."""

from virtualpool.measure.score import Score
from virtualpool.measure.unit import Unit
from virtualpool.observer import Observer
from virtualpool.records import read_records
from virtualpool.recover import (
    by_distillation,
    by_labels,
    by_recalibration,
    by_reconstruction,
)
from virtualpool.search.agreement import output_agreement
from virtualpool.search.answers import answer_agreement
from virtualpool.search.frontier import Frontier, Point
from virtualpool.search.planning import Target
from virtualpool.search.rounds import Round, search
from virtualpool.search.run import Run
from virtualpool.search.schedule import ByTimeSaved, Grouped, Listed, PerLayer, Schedule
from virtualpool.search.sensitivity import Sensitivity, SiteSensitivity, sensitivity

__all__ = [
    "ByTimeSaved",
    "Frontier",
    "Grouped",
    "Listed",
    "Observer",
    "PerLayer",
    "Point",
    "Round",
    "Run",
    "Schedule",
    "Score",
    "Sensitivity",
    "SiteSensitivity",
    "Target",
    "Unit",
    "answer_agreement",
    "by_distillation",
    "by_labels",
    "by_recalibration",
    "by_reconstruction",
    "output_agreement",
    "read_records",
    "search",
    "sensitivity",
]
