"""Torch-Pruning at the speed of a pooled network: the network pruned by so much, as measured."""

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

import virtualpool as vp
from benchmarks.accuracy.ablation.setup import Setup
from benchmarks.accuracy.ablation.variant import Change
from benchmarks.common.borrowed import TORCH_PRUNING, environment, run
from virtualpool.files import replacing
from virtualpool.measure import latency


def pruned_as_fast_as(pooled: Mapping[str, Change], setup: Setup) -> dict[str, Change]:
    """For each of some pooled networks, a function that prunes the original to its speed, fused.

    The network is pruned step by step. The results and the pooled networks are timed interleaved,
    and of the results the one that is nearest in speed is taken.
    """
    folder = setup.directory / "pruned"
    nearest = setup.run.remember(
        "pruned/nearest.json",
        lambda: _nearest(pooled, pruned(setup.network, folder, setup.directory), setup),
    )
    return {name: partial(_loaded, folder / nearest[name]) for name in pooled}


def _nearest(pooled: Mapping[str, Change], files: list[Path], setup: Setup) -> dict[str, str]:
    models = {name: vp.fuse(pool(setup.network), setup.images) for name, pool in pooled.items()}
    models |= {file.name: _loaded(file, setup.network) for file in files}
    timed = latency(models, setup.images, **setup.latency)

    def distance(name: str, file: Path) -> float:
        return abs(math.log(timed[file.name].speedup_over(timed[name]).median))

    nearest = {name: min(files, key=partial(distance, name)).name for name in pooled}
    for name, file in nearest.items():
        speed = timed[file].speedup_over(timed[name])
        setup.run.log(f"{file} is as fast as {name}: {speed} of its speed")
    return nearest


def pruned(network: nn.Module, folder: Path, directory: Path) -> list[Path]:
    """The files of a network, pruned by more and more.

    Args:
        network: of a class that another Python can import.
        folder: of the files.
        directory: of the run, which gets the environment that has Torch-Pruning.
    """
    python = environment(directory / "environment", TORCH_PRUNING)
    with replacing(folder / "network.pt") as beside:
        torch.save(network, beside)
    run(python, "benchmarks.accuracy.prune_trained", folder / "network.pt", folder)
    return sorted(folder.glob("part-*.pt"))


def _loaded(file: Path, _: nn.Module) -> Any:
    return torch.load(file, weights_only=False)
