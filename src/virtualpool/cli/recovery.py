"""The ways to recover accuracy, as the command line names them."""

from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from virtualpool.recover.round import Finetune
from virtualpool.search import by_distillation, by_labels, by_recalibration, by_reconstruction
from virtualpool.tasks.detection import Detection, by_detector_distillation, detector_loss
from virtualpool.tasks.segmentation import PixelLoss, Segmentation

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from virtualpool.cli.task import Kind, Task
    from virtualpool.recover.settings import TrainingOptions

RECONSTRUCTION = "reconstruction"
NONE = "none"
TRAINING = ("distillation", "labels", "distillation+labels")
WAYS = (RECONSTRUCTION, *TRAINING, "recalibration")
_USUAL_IMAGES: dict["Kind", int] = {
    "classification": 1000,
    "detection": 100,
    "segmentation": 200,
}
_FEW = 5
"""Of the images that a model is reconstructed with, one in so many ranks the sites."""


def ways(text: str) -> list[str]:
    """The names of recoveries, with commas between them; "none" alone is no recovery.

    >>> ways("reconstruction,distillation+labels"), ways("none")
    (['reconstruction', 'distillation+labels'], [])

    Raises:
        typer.BadParameter: there is no such way.
    """
    if text == NONE:
        return []
    found = text.split(",")
    for name in found:
        if name not in WAYS:
            raise typer.BadParameter(
                f"--recover {text}: {name or 'nothing'!r} is no way to recover; there are "
                f"{', '.join(WAYS)}, several with commas between them, or {NONE} alone."
            )
    return found


def few_images_for(task: "Task", seed: int) -> Any:
    """Batches of few images, to reconstruct anew for each site."""
    return images_for(task, _USUAL_IMAGES[task.kind] // _FEW, seed)


def images_for(task: "Task", count: int | None, seed: int) -> Any:
    """Batches of the training images that reconstruction reads, without labels.

    Args:
        task: the network's task, and its data.
        count: how many images; as usual for the task if not given.
        seed: chooses them.
    """
    _ = task.training_batches  # refuses data without training images
    return task.data.some_training_images(count or _USUAL_IMAGES[task.kind], seed)


def finetune(
    way: str,
    task: "Task",
    *,
    images: int | None,
    sites: float,
    **training: "Unpack[TrainingOptions]",
) -> Finetune:
    """One of the callables that `search` recovers each round's model with.

    Args:
        way: one of `WAYS`.
        task: the network as it was, and its data.
        images: how many of them reconstruction reads; as usual for the task if None.
        sites: in distillation, the weight of the maps of the pooled sites.
        training: the fields of `virtualpool.recover.Training`.
    """
    if way == RECONSTRUCTION:
        batches = images_for(task, images, training.get("seed", 0))
        return by_reconstruction(task.module, batches)
    batches = task.training_batches
    if way == "recalibration":
        return by_recalibration(batches)
    labelled, distilled = _training(task)
    if way == "labels":
        return labelled(batches, **training)
    labels = 0.0 if way == "distillation" else 1.0
    return distilled(task.module, batches, labels=labels, sites=sites, **training)


def _training(task: "Task") -> tuple[Any, Any]:
    """By labels, and by distillation."""
    if isinstance(task.data, Detection):
        return partial(by_labels, loss=detector_loss), by_detector_distillation
    if isinstance(task.data, Segmentation):
        loss = PixelLoss(task.data.class_weights(), task.data.ignored)
        return partial(by_labels, loss=loss), partial(by_distillation, loss=loss)
    return by_labels, by_distillation
