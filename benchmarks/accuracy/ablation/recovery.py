"""The training of a variant, and its loss."""

from typing import Any

from benchmarks.accuracy.ablation.setup import Setup
from virtualpool.recover.round import Finetune
from virtualpool.search import by_distillation, by_labels

LOGITS = "labels and logits"
"""The recovery of all that is compared with something else than virtual pooling: unlike the rest,
it is the same for networks whose maps have other channels or sizes than the original's."""

SITES = "labels, logits, last map, sites' maps"

RECOVERIES = {
    "labels": None,
    "logits": {"labels": 0.0, "features": 0.0, "sites": 0.0},
    LOGITS: {"labels": 1.0, "features": 0.0, "sites": 0.0},
    "labels, logits, last map": {"labels": 1.0, "features": 1.0, "sites": 0.0},
    SITES: {"labels": 1.0, "features": 1.0, "sites": 40.0},
}
"""The weights of a distillation's parts, as `by_distillation` takes them; None distils nothing."""


def recovery(name: str, setup: Setup, seed: int) -> Finetune:
    """The fine-tuning of that name; the order of the images and their crops are the seed's."""
    weights = RECOVERIES[name]
    settings: dict[str, Any] = setup.training | {"seed": seed}
    if weights is None:
        return by_labels(setup.train, **settings)
    return by_distillation(setup.network, setup.train, **weights, **settings)
