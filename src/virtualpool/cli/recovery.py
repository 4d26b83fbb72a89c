"""The ways to recover accuracy, as the command line names them."""

from typing import Any, Literal

from torch import nn

from virtualpool.search import by_distillation, by_labels, by_recalibration
from virtualpool.search.round import Finetune

Recover = Literal["labels", "distillation", "both", "recalibration", "none"]


def finetune(
    recover: Recover, original: nn.Module, batches: Any, *, sites: float, **training: Any
) -> Finetune:
    """The callable that `search` fine-tunes each round's model with.

    Args:
        recover: "labels"; "distillation" from the original, without labels; "both"; or
            "recalibration" of batch norm alone.
        original: the network as it was.
        batches: the training batches.
        sites: in distillation, the weight of the maps of the pooled sites.
        training: the fields of `virtualpool.search.recover.Training`.
    """
    if recover == "labels":
        return by_labels(batches, **training)
    if recover == "recalibration":
        return by_recalibration(batches)
    labels = 1.0 if recover == "both" else 0.0
    return by_distillation(original, batches, labels=labels, sites=sites, **training)
