"""Mean average precision of a detector."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.graph.running import evaluating
from virtualpool.measure.bench import device_of
from virtualpool.measure.boxes import Found
from virtualpool.measure.score import Score
from virtualpool.measure.unit import Unit
from virtualpool.recover.precision import Precision, autocast
from virtualpool.tasks.detection.average_precision import Ranked, Rule, ranked
from virtualpool.tasks.detection.coco_metric import check_coco, coco_metrics, has_coco
from virtualpool.tasks.detection.found import found_in
from virtualpool.tasks.detection.precision import full_precision_boxes

Metric = Literal["voc", "voc2007", "coco"]

_RULES: dict[str, Rule] = {"voc": "all points", "voc2007": "11 points"}
_NAMES: dict[Metric, str] = {
    "voc": "mAP at 0.5",
    "voc2007": "VOC 2007 mAP",
    "coco": "COCO mAP",
}


def evaluator(
    batches: Iterable[Any], *, metric: Metric = "voc", mixed_precision: Precision = "no"
) -> Callable[[nn.Module], Score]:
    """Makes an `evaluate(model)` that gives the mean average precision of a detector.

    The model runs where its parameters are, in eval mode, without gradients. A class of which there
    is no object does not count. With VOC's metrics the score knows its standard error, by the
    jackknife (the mean is computed anew without each image), so that the difference of two scores
    has its paired error. Its metrics are "voc", "voc2007" and, where pycocotools is installed,
    "coco", "coco at 0.5" and "coco at 0.75".

    Args:
        batches: pairs of a list of images and a list of targets, such as `load_data(...).test`.
        metric: the score. "voc" is the mean over the classes of the average precision at an overlap
            of 0.5, from all points; "voc2007" the same from 11 points, as of VOC 2007; "coco"
            the mean over overlaps of 0.5 to 0.95, too.
        mixed_precision: "no", or "bf16" or "fp16" to run under autocast; boxes stay in float32.

    Returns:
        A function of a model that gives a `Score`, a mean average precision from 0 to 1.

    Raises:
        VirtualPoolError: there is no such metric, or it needs pycocotools; when called, the model
            gives no boxes, scores and labels, or there is no object to be found.
    """
    if metric not in get_args(Metric):
        raise VirtualPoolError(
            f"There is no metric {metric!r}; there are: {', '.join(get_args(Metric))}."
        )
    if metric == "coco":
        check_coco()

    def evaluate(model: nn.Module) -> Score:
        found, targets = _run(model, batches, mixed_precision)
        classes = [
            each
            for label in sorted({int(label) for target in targets for label in target["labels"]})
            if (each := ranked(found, targets, label)).objects.any()
        ]
        if not classes:
            raise VirtualPoolError("There is no object to be found in the images to evaluate on.")
        values = {name: _mean(classes, rule) for name, rule in _RULES.items()}
        if has_coco():
            values |= coco_metrics(found, targets)
        metrics = {name: round(value, 6) for name, value in values.items()}
        unit = Unit(_NAMES[metric], percent=False, decimals=3)
        if metric not in _RULES:
            return Score(values[metric], samples=len(targets), metrics=metrics, unit=unit)
        each = _pseudo_values(classes, _RULES[metric], values[metric], len(targets))
        return Score(
            values[metric],
            standard_error=float(each.std()) / len(each) ** 0.5 if len(each) > 1 else None,
            samples=len(each),
            per_sample=each,
            metrics=metrics,
            unit=unit,
        )

    return evaluate


def _run(
    model: nn.Module, batches: Iterable[Any], precision: Precision
) -> tuple[list[Found], list[Found]]:
    """The boxes that the model finds in each image, and the true ones, both on the CPU."""
    device = device_of(model)
    found: list[Found] = []
    expected: list[Found] = []
    with (
        evaluating(model),
        torch.inference_mode(),
        full_precision_boxes(model),
        autocast(device, precision),
    ):
        for images, targets in batches:
            found += found_in(images, model)
            expected += targets
    return found, expected


def _mean(classes: Sequence[Ranked], rule: Rule) -> float:
    each = [value for it in classes if (value := it.average_precision(rule)) is not None]
    return statistics.fmean(each) if each else 0.0


def _pseudo_values(classes: list[Ranked], rule: Rule, whole: float, images: int) -> Tensor:
    """(images,) float32: by how much each image raises the mean, as if that were a sum of them."""
    without = [
        _mean([it.without(image) for it in classes], rule) if images > 1 else whole
        for image in range(images)
    ]
    return torch.tensor([images * whole - (images - 1) * rest for rest in without])
