"""The parts of plans: sites, in groups where there are many, and image scales."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from virtualpool.apply import apply
from virtualpool.errors import VirtualPoolError
from virtualpool.graph.image_scale import takes_images, transforms_of
from virtualpool.plan import known_image_scale
from virtualpool.search.resizing import refusal
from virtualpool.sites import Site, sites

SCALES = (0.875, 0.75, 0.625, 0.5)
"""The image scales that are tried, where none are given."""
MOST = 24
"""With more sites than this, they are tried in groups."""


@dataclass(frozen=True)
class Candidate:
    """Sites that join a plan together: one, or all of a block with maps of one size."""

    name: str
    sites: tuple[str, ...]


def candidates(found: Sequence[Site], most: int = MOST) -> list[Candidate]:
    """The candidates among some sites, in the order of execution.

    Up to `most` sites stand for themselves. More of them form groups: the sites of a block, which
    have the beginning of their names and the size of their maps in common. The blocks grow until
    there are `most` groups or fewer; sites that share no beginning go by the size of their maps.

    >>> shape = {"in_shape": (), "kernel": (3, 3), "stride": (1, 1), "macs": 0, "follows": "conv"}
    >>> other = {"before_pool": False, "eligible": True, "reason": None}
    >>> names = [f"layer{block}.{place}.conv" for block in (1, 2) for place in range(15)]
    >>> every = [Site(name, out_shape=(1, 8, 4, 4), **shape, **other) for name in names]
    >>> [(each.name, len(each.sites)) for each in candidates(every)]
    [('layer1 (4 x 4)', 15), ('layer2 (4 x 4)', 15)]
    """
    if len(found) <= most:
        return [Candidate(site.name, (site.name,)) for site in found]
    groups: dict[str, list[str]] = {}
    for depth in reversed(range(max(site.name.count(".") for site in found) + 1)):
        groups = {}
        for site in found:
            groups.setdefault(_block(site, depth), []).append(site.name)
        if len(groups) <= most:
            break
    return [
        Candidate(name if len(names) > 1 else names[0], tuple(names))
        for name, names in groups.items()
    ]


def _block(site: Site, depth: int) -> str:
    *folders, _ = site.name.split(".")
    height, width = site.out_shape[-2:]
    return f"{'.'.join(folders[:depth]) or 'maps'} ({height} x {width})"


def known_scales(given: Sequence[float] | None) -> list[float]:
    """The image scales to try, the largest first; `SCALES` if none are given.

    >>> known_scales([0.5, 1.25])
    [1.25, 0.5]

    Raises:
        VirtualPoolError: one is no image scale, or 1, which is always tried.
    """
    if given is None:
        return [*SCALES]
    scales = sorted({known_image_scale(scale) for scale in given}, reverse=True)
    if 1 in scales:
        raise VirtualPoolError(
            "image_scales has 1, the scale of the original, which is always tried. Leave it out."
        )
    return scales


def taken_scales(
    model: nn.Module, example_inputs: Any, scales: Sequence[float]
) -> tuple[list[float], dict[float, str]]:
    """The image scales that a model takes; and why it does not take the others."""
    reasons: dict[float, str] = {}
    if not takes_images(model, example_inputs):
        why = "the example inputs hold no batch of images (N, C, H, W), and it is no detector"
        return [], dict.fromkeys(scales, why)
    for scale in scales:
        try:
            apply(model, example_inputs, [], image_scale=scale)
        except VirtualPoolError as error:
            reasons[scale] = str(error)
            continue
        # A detector gives boxes of the images that it was given, at any scale.
        if not transforms_of(model) and (why := refusal(model, example_inputs, scale)):
            reasons[scale] = why
    return [scale for scale in scales if scale not in reasons], reasons


def at_scale(
    given: Sequence[Candidate], model: nn.Module, example_inputs: Any, scale: float
) -> list[Candidate]:
    """The candidates whose sites can all be pooled at an image scale, in the same order."""
    smaller = apply(model, example_inputs, [], image_scale=scale)
    left = {site.name for site in sites(smaller, example_inputs) if site.eligible}
    return [each for each in given if left.issuperset(each.sites)]
