"""Fusing: the pooled network's function without interpolating.

`fuse` rewrites a pooled model; a `rule` says of one operation how it works on reduced maps.
"""

from virtualpool.fuse import rules as _rules  # noqa: F401  (registers them)
from virtualpool.fuse.fusing import fuse
from virtualpool.fuse.questions.rule import Question, Rule, rule
from virtualpool.fuse.report import Choice, Interpolation, Report, report_of
from virtualpool.fuse.rules.pointwise import Affine, Pointwise
from virtualpool.fuse.twin import training_twin

__all__ = [
    "Affine",
    "Choice",
    "Interpolation",
    "Pointwise",
    "Question",
    "Report",
    "Rule",
    "fuse",
    "report_of",
    "rule",
    "training_twin",
]
