"""Inserts virtual pools: doubles the strides of sites and recovers their maps after them."""

import logging
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from torch import fx, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.fuse.readers import padded_readers
from virtualpool.fuse.sums import sums_of_recovered_maps
from virtualpool.graph.forward import name_pooled_sites, rewrite_forward
from virtualpool.graph.geometry import double_stride, padding_sides, size_arguments
from virtualpool.graph.inputs import Call, describe
from virtualpool.graph.parts import Part, Traced, trace
from virtualpool.graph.placement import input_of, placement
from virtualpool.graph.running import calls, evaluating
from virtualpool.graph.state import copy_of
from virtualpool.graph.sums import activated_sums, is_recovered_behind, recover_behind
from virtualpool.graph.targets import OwnSum, innermost_parts, is_in_own_code, own_sums
from virtualpool.operator.border import padded_border
from virtualpool.operator.pool import output_size, virtual_pool
from virtualpool.plan import (
    Border,
    Plan,
    PooledSite,
    Record,
    RecoveredSum,
    attach,
    known_border,
    plan_of,
    record_of,
)
from virtualpool.sites import POOLED, Site, check_eligible, check_model, named, sites_of
from virtualpool.words import count

logger = logging.getLogger("virtualpool")


def apply(
    model: nn.Module,
    example_inputs: Any,
    sites: Sequence[str] | str = "all",
    *,
    border: Border = "exact",
) -> nn.Module:
    """A new model with virtual pools at the named sites (paper, section 3.1).

    The stride of each site is doubled and its map is recovered after the activation that follows
    it. The model keeps its class (a subclass of it), its attributes and the names of its
    parameters; sizes are computed when it runs, so other input sizes than the example's work.
    Each site is logged to "virtualpool" at level INFO; `plan_of` returns the same.

    Args:
        model: any module; it is not changed. If it is pooled already, `sites` come on top.
        example_inputs: a tensor, a tuple of positional or a dict of keyword arguments.
        sites: a name of an eligible site (see `virtualpool.sites`), a list of such names, or "all"
            for every eligible site.
        border: what convolutions read beside a recovered map. "exact": zeros, as they did.
            "padded": zeros beside its reduced map (`operator.border.padded_border`), wherever a
            fused model reads that in its place. It is faster then, and has another function at the
            outermost positions, which is recovered with the rest. A pooled model keeps its border.

    Raises:
        VirtualPoolError: a name is unknown or not eligible, no site is left to pool, the model is
            fused, it has another border, or it does not run on the example inputs.

    >>> import torch
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
    >>> pooled = apply(model, torch.zeros(1, 3, 32, 32))
    >>> pooled[0].stride, pooled(torch.zeros(1, 3, 31, 20)).shape
    ((2, 2), torch.Size([1, 8, 31, 20]))
    """
    check_model(model)
    _check_not_fused(model)
    _check_border(plan_of(model), known_border(border))
    return _applied(model, example_inputs, sites, border)


def apply_plan(model: nn.Module, example_inputs: Any, plan: Plan) -> nn.Module:
    """An unmodified model with the sites of a plan pooled, and its convolutions reading alike."""
    check_model(model)
    return _applied(model, example_inputs, plan.names, plan.border, plan)


def _applied(
    model: nn.Module,
    example_inputs: Any,
    sites: Sequence[str] | str,
    border: Border,
    given: Plan | None = None,
) -> nn.Module:
    """The pooled model; which sums and borders are changed is given by a plan, or decided."""
    examined, pooled = copy_of(model), copy_of(model)
    traced = trace(examined, example_inputs)
    available = sites_of(examined, example_inputs, traced)
    chosen = choose(sites, available)
    with evaluating(examined):
        received = calls(examined, example_inputs, lambda tensor: tensor.to("meta"))
    placed = {site.name: PooledSite(site.name, site.follows) for site in available}
    plan = plan_of(model).extended((placed[name] for name in chosen), border)
    attach(pooled, Record(plan, describe(example_inputs)))
    insert = partial(_insert, sites=_found_in(traced, chosen), received=received)
    moved = insert(pooled, sums=_sums(pooled, traced, given, insert, example_inputs))
    padded: Sequence[str] = given.padded if given else ()
    if border == "padded":
        examined = copy_of(pooled)
        traced = trace(examined, example_inputs)
        if given is None:
            padded = padded_readers(examined, traced, example_inputs)
        for part, names, _ in innermost_parts(pooled, _found_in(traced, padded), received):
            _read_padded(part, names)
    plan = plan.extended((), border, padded, moved)
    attach(pooled, Record(plan, describe(example_inputs)))
    left = sum(site.eligible for site in available) - len(chosen)
    logger.info(
        "pooled %s (%s); %d pooled in all, %d eligible ones left as they are",
        count(len(chosen), "site"), ", ".join(chosen), len(plan.sites), left,
    )  # fmt: skip
    return pooled


def _sums(
    model: nn.Module,
    traced: Traced,
    given: Plan | None,
    insert: Callable[[nn.Module], object],
    example_inputs: Any,
) -> list[OwnSum]:
    """The sums to recover behind their activations: those of a plan, or all that gain by it.

    Args:
        model: with its plan, but without the virtual pools that `insert` inserts.
        traced: the parts of the model.
        given: the plan, if there is one.
        insert: inserts virtual pools after sites.
        example_inputs: as for `apply`.
    """
    found = [each for part in traced.parts for each in own_sums(part)]
    if given is not None:
        known = {name for each in found for name in each.recovered}
        for name in given.sums:
            if name not in known:
                raise VirtualPoolError(
                    f"The plan recovers sum {name.number} of {name.part or 'the model'}, which "
                    f"{type(model).__name__} has not. Give the model that was pooled."
                )
        recovered = {*given.sums}
    elif found:
        examined = copy_of(model)
        insert(examined)
        retraced = trace(examined, example_inputs)
        recovered = sums_of_recovered_maps(examined, retraced, example_inputs)
    else:
        recovered = set[RecoveredSum]()
    return [each for each in found if recovered.issuperset(each.recovered)]


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


def choose(names: Sequence[str] | str, available: list[Site]) -> list[str]:
    """The sites to pool now, in the given order; all that is wrong with the names is refused."""
    if isinstance(names, str) and names != "all":
        names = [names]
    if not isinstance(names, Collection) or not all(isinstance(name, str) for name in names):
        raise VirtualPoolError(
            f"The sites are given as {names!r:.80}; give a list of their names, or 'all'."
        )
    eligible = [site.name for site in available if site.eligible]
    if names == "all":
        chosen = eligible
    else:
        given = [named(name, available) for name in dict.fromkeys(names)]
        new = [site for site in given if site.reason != POOLED]
        for site in new:
            check_eligible(site)
        chosen = [site.name for site in new]
    if not chosen:
        reasons = "".join(f" {site.name}: {site.reason}." for site in available[:1] if site.reason)
        raise VirtualPoolError(
            f"No site to pool: {len(available)} convolutions, {len(eligible)} of them eligible, "
            f"none chosen.{reasons} virtualpool.sites(model, example_inputs) gives each reason."
        )
    return chosen


def _insert(
    pooled: nn.Module,
    sites: dict[str, Part],
    received: dict[str, Call],
    sums: Collection[OwnSum] = (),
) -> list[RecoveredSum]:
    """Inserts virtual pools after sites, and behind sums; gives the sums."""
    moved: list[RecoveredSum] = []
    for part, names, inside in innermost_parts(pooled, sites, received, sums):
        graphs = part.evaluation, part.training
        moved += _recover_sums(part, inside)
        for name in names:
            convolution = part.module.get_submodule(part.own_name(name))
            assert isinstance(convolution, nn.Conv2d)  # only those are eligible
            for graph in graphs:
                for node in part.calls(graph, name):
                    _recover(graph, node, convolution, part.module)
            double_stride(convolution)
        rewrite_forward(part.module, *graphs)
        name_pooled_sites(part.module, [part.own_name(name) for name in names])
    return moved


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


def _read_padded(part: Part, names: list[str]) -> None:
    graphs = part.evaluation, part.training
    for name in names:
        convolution = part.module.get_submodule(part.own_name(name))
        assert isinstance(convolution, nn.Conv2d)  # only those are readers
        left, _, above, _ = padding_sides(convolution)
        for graph in graphs:
            for node in part.calls(graph, name):
                source = input_of(node)
                with graph.inserting_before(node):
                    bordered = graph.call_function(padded_border, (source, (above, left)))
                node.replace_input_with(source, bordered)
        convolution.padding = (0, 0)
    rewrite_forward(part.module, *graphs)


def _recover(graph: fx.Graph, node: fx.Node, convolution: nn.Conv2d, module: nn.Module) -> None:
    """Adds a virtual pool after one call of a site; `convolution` has its own stride yet."""
    end, _ = placement(node, module)
    with graph.inserting_before(node):
        size = graph.call_function(output_size, (input_of(node), *size_arguments(convolution)))
    with graph.inserting_after(end):
        full = graph.call_function(virtual_pool, (end, size))
    end.replace_all_uses_with(full, delete_user_cb=lambda user: user is not full)
