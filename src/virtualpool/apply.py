"""Inserts virtual pools: doubles the strides of sites and recovers their maps after them."""

import copy
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import fx, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.fuse.fusing import Pooled, calls_of_parts
from virtualpool.fuse.readers import padded_readers
from virtualpool.fuse.sums import sums_of_recovered_maps
from virtualpool.graph.forward import name_pooled_sites, rewrite_forward
from virtualpool.graph.geometry import double_stride
from virtualpool.graph.image_scale import seen_by
from virtualpool.graph.inputs import Call, describe
from virtualpool.graph.insertion import read_padded, recover
from virtualpool.graph.parts import Part, Traced, trace
from virtualpool.graph.remembering import answers_remembered
from virtualpool.graph.running import calls, evaluating
from virtualpool.graph.smallest_scale import scaled_copy
from virtualpool.graph.state import copy_of
from virtualpool.graph.sums import activated_sums, is_recovered_behind, recover_behind
from virtualpool.graph.targets import OwnSum, innermost_parts, is_in_own_code, own_sums
from virtualpool.plan import (
    Border,
    Plan,
    PooledSite,
    Record,
    RecoveredChannels,
    RecoveredSum,
    attach,
    known_border,
    known_image_scale,
    plan_of,
    record_of,
)
from virtualpool.sites import check_model, choose, sites_of
from virtualpool.words import count, some

logger = logging.getLogger("virtualpool")


def apply(
    model: nn.Module,
    example_inputs: Any,
    sites: Sequence[str] | str = "all",
    *,
    border: Border = "exact",
    image_scale: float = 1.0,
) -> nn.Module:
    """A new model with virtual pools at the named sites (paper, section 3.1).

    The stride of each site is doubled and its map is recovered after the activation that follows
    it. The model keeps its class (a subclass of it), its attributes and the names of its
    parameters. It takes inputs of other sizes than the example's, too. `plan_of` and `summary` list
    the sites. The logger "virtualpool" has their number at level INFO and each name at DEBUG.

    Args:
        model: any module; it is not changed. If it is pooled already, `sites` come on top.
        example_inputs: a tensor, a tuple of positional or a dict of keyword arguments.
        sites: a name of an eligible site (see `virtualpool.sites`), a list of such names, or "all"
            for every eligible site. With an image scale it may be empty.
        border: what convolutions read beside a recovered map. "exact": zeros, as they did.
            "padded": zeros beside its reduced map, wherever a fused model reads that in its place.
            The fused model is then faster. It has another function at the outermost positions,
            which is recovered with the rest. A pooled model keeps its border.
        image_scale: the side of the images that the network is to see, relative to those that it is
            given: round(`image_scale` * H) by round(`image_scale` * W). The new model takes the
            same images as `model` and resizes them itself, bilinearly with antialiasing. An output
            as large as the resized image is enlarged to the size of the given one. Other maps, and
            boxes in pixels, are those of the resized image; but a detector of torchvision gives
            boxes of the images that it is given. A model keeps its image scale.

    Returns:
        A copy of `model`, in its mode and on its device. Its outputs have the same shapes and
        dtypes.

    Raises:
        VirtualPoolError: a name is unknown or not eligible, no site is left to pool, the model is
            fused, it has another border or image scale, it does not run on the example inputs, or
            not at the image scale: the smallest one that it takes is then named.

    >>> import torch
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
    >>> pooled = apply(model, torch.zeros(1, 3, 32, 32))
    >>> pooled[0].stride, pooled(torch.zeros(1, 3, 31, 20)).shape
    ((2, 2), torch.Size([1, 8, 31, 20]))
    >>> smaller = apply(model, torch.zeros(1, 3, 32, 32), [], image_scale=0.75)
    >>> smaller(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 8, 32, 32])
    """
    check_model(model)
    _check_not_fused(model)
    _check_border(plan_of(model), known_border(border))
    image_scale = known_image_scale(image_scale)
    if plan_of(model).image_scale != image_scale:
        model = scaled_copy(model, example_inputs, image_scale)
    return _applied(model, example_inputs, sites, border, image_scale)


def apply_plan(model: nn.Module, example_inputs: Any, plan: Plan) -> nn.Module:
    """An unmodified model with the sites of a plan pooled, and its convolutions reading alike.

    Args:
        model: the unmodified model; it is not changed, and resizes no images.
        example_inputs: with images as they are at the plan's image scale.
        plan: which sites.
    """
    check_model(model)
    return _applied(model, example_inputs, plan.names, plan.border, plan.image_scale, plan)


@answers_remembered()
def _applied(
    model: nn.Module,
    example_inputs: Any,
    sites: Sequence[str] | str,
    border: Border,
    image_scale: float,
    given: Plan | None = None,
) -> nn.Module:
    """The pooled model; which sums and borders are changed is given by a plan, or decided."""
    examined, pooled = copy_of(model), copy_of(model)
    described = describe(seen_by(model, example_inputs))
    plan = replace(plan_of(model).extended((), border), image_scale=image_scale)
    if image_scale != 1 and not isinstance(sites, str) and not len(sites):
        attach(pooled, Record(plan, described))
        logger.info("images at image scale %g, no more sites pooled", image_scale)
        return pooled
    traced = trace(examined, example_inputs)
    available = sites_of(examined, example_inputs, traced)
    chosen = choose(sites, available)
    with evaluating(examined):
        received = calls(examined, example_inputs, lambda tensor: tensor.to("meta"))
    placed = {site.name: PooledSite(site.name, site.follows) for site in available}
    plan = plan.extended((placed[name] for name in chosen), border)
    found = [each for part in traced.parts for each in own_sums(part)]
    changes = _Changes(_found_in(traced, chosen))
    if given is not None:
        changes.sums = _of_plan(given, found, model)
        changes.padded = _found_in(traced, given.padded)
        changes.channels = list(given.channels)
    elif found or border == "padded":
        _decide(changes, found, examined, traced, example_inputs, plan)
    moved = _insert(pooled, changes, received)
    plan = plan.extended((), border, changes.padded, moved, changes.channels)
    attach(pooled, Record(plan, described))
    left = sum(site.eligible for site in available) - len(chosen)
    logger.info(
        "pooled %s (%s); %d pooled in all, %d eligible ones left as they are",
        count(len(chosen), "site"), some(chosen), len(plan.sites), left,
    )  # fmt: skip
    logger.debug("pooled: %s", ", ".join(chosen))
    return pooled


@dataclass
class _Changes:
    """The changes of a model.

    Attributes:
        sites: to pool, each with the part that calls it.
        padded: convolutions that are to read padded borders, each with its part.
        channels: which channels of some of these have such borders.
        sums: to recover behind their activations.
    """

    sites: dict[str, Part]
    padded: dict[str, Part] = field(default_factory=dict)
    channels: list[RecoveredChannels] = field(default_factory=list)
    sums: list[OwnSum] = field(default_factory=list)


def _of_plan(plan: Plan, found: list[OwnSum], model: nn.Module) -> list[OwnSum]:
    """The sums that a plan recovers behind their activations."""
    known = {name for each in found for name in each.recovered}
    for name in plan.sums:
        if name not in known:
            raise VirtualPoolError(
                f"The plan recovers sum {name.number} of {name.part or 'the model'}, which "
                f"{type(model).__name__} has not. Give the model that was pooled."
            )
    return _of_names(plan.sums, found)


def _of_names(names: Collection[RecoveredSum], found: list[OwnSum]) -> list[OwnSum]:
    return [each for each in found if {*names}.issuperset(each.recovered)]


def _decide(
    changes: _Changes,
    found: list[OwnSum],
    model: nn.Module,
    traced: Traced,
    example_inputs: Any,
    plan: Plan,
) -> None:
    """Decides which sums stay reduced and which convolutions read padded borders.

    Args:
        changes: gets both.
        found: the sums that there are.
        model: unmodified; the strides of sites are doubled in it.
        traced: its parts, which stay as they are.
        example_inputs: as for `apply`.
        plan: the pooled sites, and the border.
    """
    # As `fuse` will see it: in copies of the graphs at hand, for another trace costs more.
    with evaluating(model):
        received = calls_of_parts(model, traced.parts, example_inputs)
    parts = [replace(part, evaluation=copy.deepcopy(part.evaluation)) for part in traced.parts]
    for name in changes.sites:
        convolution = _convolution(model, name)
        for part in parts:
            for node in part.calls(part.evaluation, name):
                recover(part.evaluation, node, convolution, part.module)
        double_stride(convolution)
    pooled = Pooled(model, parts, received, plan.names)
    changes.sums = _of_names(sums_of_recovered_maps(pooled), found)
    if plan.border == "padded":
        for part in parts:
            activations = activated_sums(part.evaluation, part.module)
            for name in (each for it in changes.sums for each in it.recovered):
                if name.part == part.name and not is_recovered_behind(activations[name.number]):
                    recover_behind(activations[name.number])
        readers = padded_readers(pooled)
        changes.padded = _found_in(traced, [*readers])
        changes.channels = [RecoveredChannels(name, runs) for name, runs in readers.items() if runs]


def _found_in(traced: Traced, names: Sequence[str]) -> dict[str, Part]:
    """The part that calls each of some convolutions."""
    return {
        name: part for name in names for part in traced.parts if part.calls(part.evaluation, name)
    }


def _check_border(plan: Plan, border: Border) -> None:
    if plan.sites and plan.border != border:
        raise VirtualPoolError(
            f"The model is pooled with border {plan.border!r}, and {border!r} is asked for. Give "
            f"border={plan.border!r}, or pool all sites in the unmodified model."
        )


def _check_not_fused(model: nn.Module) -> None:
    record = record_of(model)
    if record is not None and record.fused_with is not None:
        raise VirtualPoolError(
            f"{type(model).__name__} is fused, so no more of its sites can be pooled. "
            "Pool them in the unfused model, which a file gives as well: "
            "virtualpool.load(model, path, unfused=True)."
        )


def _insert(model: nn.Module, changes: _Changes, received: dict[str, Call]) -> list[RecoveredSum]:
    """Changes a model; gives the sums that were moved."""
    moved: list[RecoveredSum] = []
    convolutions = changes.sites | changes.padded
    channels = {each.convolution: each.runs for each in changes.channels}
    with evaluating(model):
        for part, names, inside in innermost_parts(model, convolutions, received, changes.sums):
            moved += _recover_sums(part, inside)
            sites = [name for name in names if name in changes.sites]
            for name in sites:
                convolution = _convolution(model, name)
                for graph, node in _calls(part, name):
                    recover(graph, node, convolution, part.module)
                double_stride(convolution)
            for name in (name for name in names if name in changes.padded):
                convolution = _convolution(model, name)
                for graph, node in _calls(part, name):
                    read_padded(graph, node, convolution, channels.get(name, ()))
                convolution.padding = (0, 0)
            rewrite_forward(part.module, part.evaluation, part.training)
            name_pooled_sites(part.module, [part.own_name(name) for name in sites])
    return moved


def _convolution(model: nn.Module, name: str) -> nn.Conv2d:
    convolution = model.get_submodule(name)
    assert isinstance(convolution, nn.Conv2d)  # only those are eligible, or readers
    return convolution


def _calls(part: Part, name: str) -> list[tuple[fx.Graph, fx.Node]]:
    graphs = part.evaluation, part.training
    return [(graph, node) for graph in graphs for node in part.calls(graph, name)]


def _recover_sums(part: Part, sums: list[OwnSum]) -> list[RecoveredSum]:
    """Recovers sums in a module's own code behind their activations, if both graphs have them."""
    own = [
        [each for each in activated_sums(graph, part.module) if is_in_own_code(each)]
        for graph in (part.evaluation, part.training)
    ]
    if len(own[0]) != len(own[1]):
        return []
    for activations in own:
        for each in sums:
            if not is_recovered_behind(activations[each.index]):
                recover_behind(activations[each.index])
    return [recovered for each in sums for recovered in each.recovered]
