"""The ways to recover accuracy, as the command line names them."""

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from torch import nn

from virtualpool.cli.task import Kind
from virtualpool.recover.round import Finetune
from virtualpool.search import by_distillation, by_labels, by_recalibration
from virtualpool.tasks.detection import by_detector_distillation, detector_loss

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from virtualpool.recover.settings import TrainingOptions

Recover = Literal["labels", "distillation", "both", "recalibration", "none"]


def finetune(
    recover: Recover,
    task: Kind,
    original: nn.Module,
    batches: Any,
    *,
    sites: float,
    **training: "Unpack[TrainingOptions]",
) -> Finetune:
    """The callable that `search` fine-tunes each round's model with.

    Args:
        recover: "labels"; "distillation" from the original, without labels; "both"; or
            "recalibration" of batch norm alone.
        task: what the network does.
        original: the network as it was.
        batches: the training batches.
        sites: in distillation, the weight of the maps of the pooled sites.
        training: the fields of `virtualpool.recover.Training`.
    """
    if recover == "recalibration":
        return by_recalibration(batches)
    labelled, distilled = _WAYS[task]
    if recover == "labels":
        return labelled(batches, **training)
    labels = 1.0 if recover == "both" else 0.0
    return distilled(original, batches, labels=labels, sites=sites, **training)


_WAYS: dict[Kind, Any] = {
    "classification": (by_labels, by_distillation),
    "detection": (partial(by_labels, loss=detector_loss), by_detector_distillation),
}
