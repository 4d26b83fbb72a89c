"""How fast the models of all variants are, timed interleaved."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from torch import nn

import virtualpool as vp
from benchmarks.accuracy.ablation.setup import Setup
from benchmarks.accuracy.ablation.variant import Variant
from virtualpool.files import read_json, write_json
from virtualpool.graph.image_scale import resized
from virtualpool.measure import Latency, Speedup, latency
from virtualpool.measure.prepared import Timed
from virtualpool.measure.spread import quartiles
from virtualpool.plan import plan_of

ORIGINAL = "original"
_FUSED = ", fused"

Forms = dict[str, Callable[[], Timed]]


@dataclass(frozen=True)
class Speeds:
    """The latencies of models.

    Attributes:
        latencies: by the names of the models.
        names: of a variant and a seed, the name of the model after each round. Variants that
            pool the same sites, in whatever order, have one model in common.
    """

    latencies: dict[str, Latency]
    names: dict[tuple[str, int], list[str]]

    def unfused(self, variant: Variant, seeds: Iterable[int], index: int) -> Speedup:
        """How many times faster than the original a variant is after a round."""
        return self._speedup(self._models(variant, seeds, index))

    def fused(self, variant: Variant, seeds: Iterable[int], index: int) -> Speedup | None:
        """The same, fused; None if it is not pooled."""
        models = {name + _FUSED for name in self._models(variant, seeds, index)}
        return self._speedup(models) if models <= self.latencies.keys() else None

    def _models(self, variant: Variant, seeds: Iterable[int], index: int) -> set[str]:
        return {self.names[variant.name, seed][index] for seed in seeds}

    def _speedup(self, models: set[str]) -> Speedup:
        before = self.latencies[ORIGINAL].samples_ms
        ratios = [
            theirs / mine
            for model in models
            for theirs, mine in zip(before, self.latencies[model].samples_ms, strict=True)
        ]
        lower, median, upper = quartiles(ratios)
        return Speedup(median, lower, upper)


def speeds(variants: list[Variant], seeds: list[int], setup: Setup) -> Speeds:
    """The speeds of variants, timed if the run's file does not have all of them.

    How a network was trained does not change its speed, so each is timed as it begins.
    """
    names: dict[tuple[str, int], list[str]] = {}
    forms: Forms = {ORIGINAL: lambda: setup.network}
    for variant in variants:
        for seed in seeds:
            found = dict(_models(variant, seed, setup))
            names[variant.name, seed] = list(found)
            for name, model in found.items():
                forms |= _forms(name, model, variant.side, setup)
    return Speeds(_timed(forms, setup), names)


def _models(variant: Variant, seed: int, setup: Setup) -> Iterator[tuple[str, nn.Module]]:
    model = setup.network
    for index, change in enumerate(variant.changes(seed), 1):
        model = change(model)
        sites = sorted(plan_of(model).names)
        yield f"pooled: {', '.join(sites)}" if sites else f"{variant.name}, {index}", model


def _forms(name: str, model: nn.Module, side: float, setup: Setup) -> Forms:
    if plan_of(model).names:
        return {name: lambda: model, name + _FUSED: partial(vp.fuse, model, setup.images)}
    if side < 1:
        # Whoever wants small images resizes large ones while they are decoded.
        return {name: lambda: (setup.network, resized(setup.images, side))}
    return {name: lambda: model}


def _timed(forms: Forms, setup: Setup) -> dict[str, Latency]:
    file = setup.directory / "times.json"
    known = read_json(file) if file.exists() else {}
    if not forms.keys() <= known.keys():
        setup.run.log(f"timing {len(forms)} models")
        models = {name: make() for name, make in forms.items()}
        found = latency(models, setup.images, **setup.latency)
        known = {name: each.to_json() for name, each in found.items()}
        write_json(file, known)
    return {name: Latency.from_json(value) for name, value in known.items()}
