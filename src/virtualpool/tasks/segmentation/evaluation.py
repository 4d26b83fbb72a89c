"""Mean intersection over union of a segmentation network."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.graph.running import evaluating
from virtualpool.measure.bench import device_of
from virtualpool.measure.masks import IGNORED, confusion, unions
from virtualpool.measure.score import Score
from virtualpool.measure.unit import Unit
from virtualpool.recover.precision import Precision, autocast
from virtualpool.tasks.segmentation.boundary import boundary_counts, boundary_score
from virtualpool.tasks.segmentation.found import logits_of

OF_CLASS = "IoU of "
"""The metrics of single classes begin so; tables leave them out."""


def evaluator(
    batches: Iterable[Any],
    *,
    classes: Sequence[str] | None = None,
    ignored: int | None = None,
    mixed_precision: Precision = "no",
) -> Callable[[nn.Module], Score]:
    """Makes an `evaluate(model)` that gives the mean intersection over union (mIoU).

    The counts of all images are added up before they are divided, as is usual; a class of which no
    pixel is found nor true does not count. Logits of another size than the mask are enlarged to
    it. The score knows its standard error, by the jackknife (the mean is computed anew without each
    image), so the difference of two scores has its paired error. Its metrics are "pixel accuracy",
    "boundary F" (`boundary`), and "IoU of" each class.

    Args:
        batches: pairs of (N, 3, H, W) images and (N, H, W) masks, such as `load_data(...).test`.
        classes: their names; as the data set of the batches has them if not given.
        ignored: the number of pixels that do not count; as the data set has it, or 255.
        mixed_precision: "no", or "bf16" or "fp16" to run under autocast.

    Returns:
        A function of a model that gives a `Score`, an mIoU from 0 to 1.

    Raises:
        VirtualPoolError: the classes are not known; when called, the model gives no logits of as
            many classes, or there is no image.
    """
    dataset = getattr(batches, "dataset", None)
    names = classes or getattr(dataset, "classes", None)
    number = ignored if ignored is not None else getattr(dataset, "ignored", IGNORED)
    if names is None:
        raise VirtualPoolError("The batches do not know their classes; give evaluator classes=[].")

    def evaluate(model: nn.Module) -> Score:
        device = device_of(model)
        matrices, counts = [], []
        with evaluating(model), torch.inference_mode(), autocast(device, mixed_precision):
            for images, masks in batches:
                if not len(masks):
                    continue
                outputs = model(images.to(device, memory_format=torch.channels_last))
                logits = logits_of(outputs, len(names), masks.shape[-2:])
                found, masks = logits.argmax(1), masks.to(device)
                matrices.append(confusion(found, masks, len(names), number).cpu())
                counts.append(boundary_counts(found, masks, len(names), number).cpu())
        if not matrices:
            raise VirtualPoolError("There is no image to evaluate on: every batch was empty.")
        return _score(torch.cat(matrices), torch.cat(counts), names)

    return evaluate


def _score(matrices: Tensor, counts: Tensor, names: Sequence[str]) -> Score:
    whole, images = matrices.sum(0), len(matrices)
    each = unions(whole)
    value = float(each.nanmean())
    without = unions(whole - matrices).nanmean(-1) if images > 1 else torch.full((1,), value)
    pseudo = (images * value - (images - 1) * without).float()
    metrics = {
        "pixel accuracy": float(whole.diagonal().sum() / whole.sum()),
        "boundary F": boundary_score(counts.sum(0)),
    }
    metrics |= {
        f"{OF_CLASS}{name}": iou
        for name, iou in zip(names, each.tolist(), strict=True)
        if iou == iou  # not a number where there is no pixel
    }
    return Score(
        value,
        standard_error=float(pseudo.std()) / images**0.5 if images > 1 else None,
        samples=images,
        per_sample=pseudo,
        metrics={name: round(each, 6) for name, each in metrics.items()},
        unit=Unit("mIoU"),
    )
