"""COCO's mean average precision, by torchmetrics and pycocotools."""

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
from torch import Tensor

from virtualpool.errors import VirtualPoolError

# As COCO's own. Torchmetrics rounds them to float32, and an overlap of 0.8 is not over that.
_OVERLAPS = np.linspace(0.5, 0.95, 10).tolist()
_RECALLS = np.linspace(0, 1, 101).tolist()


def has_coco() -> bool:
    """Whether COCO's own tools are installed."""
    return find_spec("pycocotools") is not None


def check_coco() -> None:
    """Refuses to go on without COCO's own tools."""
    if not has_coco():
        raise VirtualPoolError(
            "pycocotools is not installed; install it by: pip install 'virtualpool[detection]'."
        )


def coco_metrics(
    found: Sequence[dict[str, Tensor]], targets: Sequence[dict[str, Tensor]]
) -> dict[str, float]:
    """The mean average precision over overlaps of 0.5 to 0.95, that at 0.5, and that at 0.75.

    Args:
        found: of each image `boxes`, `scores` and `labels`.
        targets: of each image `boxes`, `labels`, `ignored` and `areas`. An ignored box is taken
            for a crowd: any number of findings that lie in it do not count.

    Raises:
        VirtualPoolError: pycocotools is not installed.
    """
    check_coco()
    from torchmetrics.detection import MeanAveragePrecision

    metric = MeanAveragePrecision(iou_thresholds=_OVERLAPS, rec_thresholds=_RECALLS)
    # More than a hundred findings in an image are not counted, which COCO means to be so.
    metric.warn_on_many_detections = False
    metric.update(
        [{name: each[name] for name in ("boxes", "scores", "labels")} for each in found],
        [
            {
                "boxes": each["boxes"],
                "labels": each["labels"],
                "iscrowd": each["ignored"].int(),
                "area": each["areas"],
            }
            for each in targets
        ],
    )
    values = metric.compute()
    names = {"coco": "map", "coco at 0.5": "map_50", "coco at 0.75": "map_75"}
    return {ours: float(values[theirs]) for ours, theirs in names.items()}
