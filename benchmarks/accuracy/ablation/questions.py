"""The ablations by name, each with its variants."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import nn

import virtualpool as vp
from benchmarks.accuracy.ablation.pooled import at_random, by_macs, in_rounds, pool, reached
from benchmarks.accuracy.ablation.pruning import pruned_as_fast_as
from benchmarks.accuracy.ablation.recovered import (
    Nearest,
    Transposed,
    before_activation,
    recovered_by,
)
from benchmarks.accuracy.ablation.recovery import LOGITS, RECOVERIES, SITES
from benchmarks.accuracy.ablation.removal import REMOVALS
from benchmarks.accuracy.ablation.setup import Setup
from benchmarks.accuracy.ablation.variant import Change, Variant
from benchmarks.accuracy.perforation import perforated
from virtualpool.graph.state import copy_of
from virtualpool.search import ByTimeSaved, Grouped, PerLayer
from virtualpool.search.smaller import SIDES

ROUNDS = 3
ALL_POOLED = "all sites pooled"
POOLING = "virtual pooling"
POOLING_BY_SITES = "virtual pooling, by its sites' maps"


@dataclass(frozen=True)
class Ablation:
    """A question, and the variants that answer it.

    Attributes:
        title: of its table.
        variants: of a setup, the variants to compare.
    """

    title: str
    variants: Callable[[Setup], Sequence[Variant]]


def unmodified() -> Variant:
    """The network as it is, trained for as long as the others."""
    return Variant.once("unmodified", copy_of)


def _all_pooled(setup: Setup) -> Variant:
    return Variant.once(ALL_POOLED, pool("all", setup.image), frontier=POOLING)


def _more_and_more_pooled(setup: Setup) -> list[Variant]:
    sets = _pooled_sets(setup).items()
    return [Variant.once(name, change, frontier=POOLING) for name, change in sets]


def _recovered_by_sites(setup: Setup) -> list[Variant]:
    """The same, by recoveries for networks with maps as large as the original's only."""
    return [
        Variant.once(f"{name}, by {SITES}", change, SITES, POOLING_BY_SITES)
        for name, change in _pooled_sets(setup).items()
    ]


def _pooled_sets(setup: Setup) -> dict[str, Change]:
    # Those sites come first that save the most time for the accuracy that they cost.
    *some, _ = reached(ByTimeSaved(count=ROUNDS), setup)
    changes = {f"{len(names)} sites pooled": pool(names, setup.image) for names in some}
    return changes | {ALL_POOLED: pool("all", setup.image)}


def _activation(setup: Setup) -> list[Variant]:
    before = partial(before_activation, image=setup.image)
    return [_all_pooled(setup), Variant.once("recovered before the activation", before)]


def _interpolation(setup: Setup) -> list[Variant]:
    nearest = _recovered(lambda channels: Nearest(), setup)
    return [_all_pooled(setup), Variant.once("nearest neighbour", nearest)]


def _transposed(setup: Setup) -> list[Variant]:
    dense = _recovered(Transposed, setup)
    by_channel = _recovered(lambda channels: Transposed(channels, groups=channels), setup)
    return [
        _all_pooled(setup),
        Variant.once("transposed convolution", dense),
        Variant.once("transposed convolution, channel by channel", by_channel),
    ]


def _recovered(make: Callable[[int], nn.Module], setup: Setup) -> Change:
    return partial(recovered_by, make, image=setup.image)


def _removal(setup: Setup) -> list[Variant]:
    pairs = [
        (
            Variant.once(f"stride moved from convs.{it.later} to convs.{it.early}", it),
            Variant.once(f"pooled: {', '.join(it.sites)}", pool(it.sites, setup.image)),
        )
        for it in REMOVALS
    ]
    return [variant for pair in pairs for variant in pair]


def _grouped(setup: Setup) -> Variant:
    changes = partial(in_rounds, Grouped(count=ROUNDS), setup)
    return Variant(f"{ROUNDS} rounds", lambda seed: changes())


def _grouping(setup: Setup) -> list[Variant]:
    per_layer = Variant("a round a site", lambda seed: in_rounds(PerLayer(), setup))
    return [_grouped(setup), per_layer]


def _order(setup: Setup) -> list[Variant]:
    grouped, ranking = Grouped(count=ROUNDS), setup.sensitivity
    orders: dict[str, Callable[[int], list[Change]]] = {
        "most work first": lambda seed: in_rounds(grouped, setup, by_macs(ranking)),
        "most time saved first": lambda seed: in_rounds(ByTimeSaved(count=ROUNDS), setup),
        "at random": lambda seed: in_rounds(grouped, setup, at_random(ranking, seed)),
    }
    return [
        _grouped(setup),
        *(Variant(f"{ROUNDS} rounds, {name}", changes) for name, changes in orders.items()),
    ]


def _rounds(setup: Setup) -> list[Variant]:
    return [_all_pooled(setup), _grouped(setup)]


def _distillation(setup: Setup) -> list[Variant]:
    others = [name for name in RECOVERIES if name != LOGITS]
    return [
        _all_pooled(setup),
        *(Variant.once(f"{ALL_POOLED}, by {it}", pool("all", setup.image), it) for it in others),
    ]


def _perforation(setup: Setup) -> list[Variant]:
    return [
        _all_pooled(setup),
        Variant.once("2x2 perforation", partial(perforated, images=setup.image)),
    ]


def _smaller_images(setup: Setup) -> list[Variant]:
    smaller = [_on_smaller_images(side, setup) for side in SIDES]
    return [*_more_and_more_pooled(setup), *_recovered_by_sites(setup), *smaller]


def _on_smaller_images(side: float, setup: Setup) -> Variant:
    change = partial(vp.apply, example_inputs=setup.image, sites=[], image_scale=side)
    name = f"images of {side:g} of the side"
    return Variant.once(name, change, frontier="smaller images", side=side)


def _pruning(setup: Setup) -> list[Variant]:
    changes = pruned_as_fast_as(_pooled_sets(setup), setup)
    pruned = {f"pruned, as fast as {name}": change for name, change in changes.items()}
    return [
        *_more_and_more_pooled(setup),
        *(Variant.once(name, it, frontier="Torch-Pruning") for name, it in pruned.items()),
    ]


ABLATIONS = {
    "activation": Ablation("Recovered after the activation, or before it", _activation),
    "interpolation": Ablation("Linear interpolation, or the nearest neighbour", _interpolation),
    "removal": Ablation("Pooling removal, and pooling that leaves as much work", _removal),
    "transposed": Ablation("Interpolation, or a transposed convolution", _transposed),
    "grouping": Ablation("Grouped, or a round a site", _grouping),
    "order": Ablation("The order of the sites", _order),
    "rounds": Ablation("At once, or in rounds", _rounds),
    "distillation": Ablation("The loss to minimise", _distillation),
    "perforation": Ablation("Virtual pooling, or 2x2 perforation", _perforation),
    "smaller-images": Ablation("Virtual pooling, or smaller images", _smaller_images),
    "pruning": Ablation("Virtual pooling, or Torch-Pruning", _pruning),
}
