"""Accuracy of a classification network."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from virtualpool.errors import VirtualPoolError
from virtualpool.search.recover.precision import Precision, autocast
from virtualpool.search.score import Score
from virtualpool.search.unit import Unit
from virtualpool.trace import evaluating

TOP5_CLASSES = 6
"""With fewer classes than this, top-5 says nothing."""


def evaluator(
    batches: Iterable[Any], *, mixed_precision: Precision = "no"
) -> Callable[[nn.Module], Score]:
    """Makes an `evaluate(model)` that gives the top-1 accuracy over labelled batches.

    The model runs where its parameters are, in eval mode, without gradients; its training flags
    are as before afterwards. The score knows its standard error, whether each image was right,
    and in its metrics "top1" and, from six classes on, "top5".

    Args:
        batches: pairs of (N, C, H, W) images and (N,) labels, such as `load_data(...).test`.
        mixed_precision: "no", or "bf16" or "fp16" to run under autocast.

    Raises (when called):
        VirtualPoolError: the model gives something else than (N, classes), another number of
            classes than the data have, or there is no image.
    """

    def evaluate(model: nn.Module) -> Score:
        device = next((each.device for each in model.parameters()), torch.device("cpu"))
        right: list[Tensor] = []
        metrics: dict[str, MulticlassAccuracy] = {}
        with evaluating(model), torch.inference_mode(), autocast(device, mixed_precision):
            for images, labels in batches:
                if not len(labels):
                    continue
                images = images.to(device, memory_format=torch.channels_last)
                outputs, labels = model(images), labels.to(device)
                if not metrics:
                    metrics = _metrics(outputs, getattr(batches, "dataset", None), device)
                check_classes(outputs, labels)
                for metric in metrics.values():
                    metric.update(outputs.float(), labels)
                right.append(outputs.argmax(1) == labels)
        if not right:
            raise VirtualPoolError("There is no image to evaluate on: every batch was empty.")
        values = {name: round(float(metric.compute()), 6) for name, metric in metrics.items()}
        return Score.of(torch.cat(right).cpu(), metrics=values, unit=Unit("accuracy"))

    return evaluate


def check_classes(outputs: Any, labels: Tensor) -> None:
    """Refuses outputs that are not logits, and labels that they have no class for."""
    if not isinstance(outputs, Tensor) or outputs.ndim != 2:
        given = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise VirtualPoolError(
            f"The model gives {given}; classification expects logits of shape (N, classes). A "
            "detector is judged by virtualpool.tasks.detection (--task detection)."
        )
    highest = int(labels.max())
    if highest >= outputs.shape[1]:
        raise VirtualPoolError(
            f"The model has {outputs.shape[1]} outputs, the data a label {highest}; "
            "give a model with as many outputs as the data have classes."
        )


def _metrics(outputs: Any, dataset: Any, device: torch.device) -> dict[str, MulticlassAccuracy]:
    classes = getattr(dataset, "classes", None)
    check_classes(outputs, torch.zeros(1))
    if classes is not None and len(classes) != outputs.shape[1]:
        raise VirtualPoolError(
            f"The model has {outputs.shape[1]} outputs, the data {len(classes)} classes; "
            "give a model with as many outputs as the data have classes."
        )
    ranks = {"top1": 1, "top5": 5} if outputs.shape[1] >= TOP5_CLASSES else {"top1": 1}
    return {
        name: MulticlassAccuracy(outputs.shape[1], top_k=rank, average="micro").to(device)
        for name, rank in ranks.items()
    }
