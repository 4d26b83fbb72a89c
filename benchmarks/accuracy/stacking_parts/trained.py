"""All-CNN-C pooled, pruned, and pruned and then pooled; each step is trained for as long."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.accuracy.ablation.pooled import pool
from benchmarks.accuracy.ablation.pruning import pruned
from benchmarks.accuracy.ablation.recovery import LOGITS, SITES, recovery
from benchmarks.accuracy.ablation.setup import Setup
from virtualpool.files import replacing
from virtualpool.measure.score import judge
from virtualpool.plan import plan_of
from virtualpool.search import Round

ORIGINAL, POOLED, PRUNED, BOTH = "original", "pooled", "pruned", "pruned, then pooled"

PRUNED_FILE = "part-0.48.pt"
"""From the files of `prune_trained.py`: half of the multiply-accumulates, or a little less."""

WITH_SITES = {"learning_rate": 1e-3, "clip": 40.0}
"""The loss on the sites' maps stands larger steps, and has larger gradients."""

SEED = 0


def trained(setup: Setup) -> dict[str, nn.Module]:
    """The networks by name, each made and trained if its file is not there.

    Pooled ones are unfused. A form learns from the network it was made of: a pruned network has
    maps of fewer channels than the original's.
    """
    smaller = _tuned(PRUNED, lambda: _pruned(setup), LOGITS, setup)
    with_sites = replace(setup, training=setup.training | WITH_SITES)
    from_smaller = replace(with_sites, network=smaller)
    return {
        ORIGINAL: setup.network,
        POOLED: _tuned(POOLED, partial(_pooled, setup), SITES, with_sites),
        PRUNED: smaller,
        BOTH: _tuned(BOTH, partial(_pooled, from_smaller), SITES, from_smaller),
    }


def _pooled(setup: Setup) -> nn.Module:
    return pool("all", setup.image)(setup.network)


def _pruned(setup: Setup) -> nn.Module:
    folder = setup.directory / "pruned"
    if not (folder / PRUNED_FILE).exists():
        pruned(setup.network, folder, setup.directory)
    return _read(folder / PRUNED_FILE)


def _tuned(name: str, make: Callable[[], nn.Module], how: str, setup: Setup) -> nn.Module:
    folder = setup.directory / "trained" / name
    file = folder / "model.pt"
    if not file.exists():
        model = make().train().to(setup.device)
        recovery(how, setup, SEED)(model, _round(model, folder, setup))
        with replacing(file) as beside:
            torch.save(model.eval().cpu(), beside)
    return _read(file)


def _round(model: nn.Module, folder: Path, setup: Setup) -> Round:
    return Round(
        index=1,
        added=(),
        plan=plan_of(model),
        directory=folder,
        learning_rate=None,
        epochs=setup.epochs,
        evaluate=partial(judge, setup.watch, subject=folder.name),
    )


def _read(file: Path) -> Any:
    return torch.load(file, weights_only=False)
