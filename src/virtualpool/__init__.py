"""Virtual pooling: a trained CNN in, a set of faster ones out.

`apply` doubles the strides of convolutions and recovers their maps by linear interpolation;
`fuse` makes of that an equal network which never interpolates;
`search` decides where, in rounds with fine-tuning, and gives a `Frontier` to pick from.
"""

# ruff: noqa: TC004  (Python finds these names by the table at the end)
from typing import TYPE_CHECKING

from virtualpool import lazy

if TYPE_CHECKING:  # what type checkers see
    from virtualpool import measure
    from virtualpool.apply import apply
    from virtualpool.bound import Bound, error_bound
    from virtualpool.cascade import Cascade
    from virtualpool.errors import VirtualPoolError
    from virtualpool.export import ExportReport, export
    from virtualpool.fuse import fuse, report_of
    from virtualpool.measure.unit import Unit
    from virtualpool.operator.exporting import exporting_for
    from virtualpool.operator.pool import VirtualPool, virtual_pool
    from virtualpool.plan import Plan, PooledSite, plan_of
    from virtualpool.recover import (
        Training,
        by_distillation,
        by_labels,
        by_recalibration,
        by_reconstruction,
        reconstruct,
    )
    from virtualpool.search import (
        Frontier,
        Score,
        Target,
        answer_agreement,
        output_agreement,
        search,
        sensitivity,
    )
    from virtualpool.sites import Site, sites
    from virtualpool.storage import load, save
    from virtualpool.summary import Summary, summary

__all__ = [
    "Bound",
    "Cascade",
    "ExportReport",
    "Frontier",
    "Plan",
    "PooledSite",
    "Score",
    "Site",
    "Summary",
    "Target",
    "Training",
    "Unit",
    "VirtualPool",
    "VirtualPoolError",
    "answer_agreement",
    "apply",
    "by_distillation",
    "by_labels",
    "by_recalibration",
    "by_reconstruction",
    "error_bound",
    "export",
    "exporting_for",
    "fuse",
    "load",
    "measure",
    "output_agreement",
    "plan_of",
    "reconstruct",
    "report_of",
    "save",
    "search",
    "sensitivity",
    "sites",
    "summary",
    "virtual_pool",
]

lazy.export(  # what Python sees
    __name__,
    {
        "bound": ["Bound", "error_bound"],
        "cascade": ["Cascade"],
        "errors": ["VirtualPoolError"],
        "export": ["ExportReport", "export"],
        "operator.exporting": ["exporting_for"],
        "fuse": ["fuse", "report_of"],
        "apply": ["apply"],
        "plan": ["Plan", "PooledSite", "plan_of"],
        "operator.pool": ["VirtualPool", "virtual_pool"],
        "measure.unit": ["Unit"],
        "recover": [
            "Training",
            "by_distillation",
            "by_labels",
            "by_recalibration",
            "by_reconstruction",
            "reconstruct",
        ],
        "search": [
            "Frontier",
            "Score",
            "Target",
            "answer_agreement",
            "output_agreement",
            "search",
            "sensitivity",
        ],
        "sites": ["Site", "sites"],
        "storage": ["load", "save"],
        "summary": ["Summary", "summary"],
    },
    modules=["measure"],
)
