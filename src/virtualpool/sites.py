"""Where virtual pooling can go: every convolution of a model, and whether it is eligible."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn
from torch.nn.modules.lazy import LazyModuleMixin

from virtualpool.errors import VirtualPoolError
from virtualpool.graph.geometry import per_axis, size_arguments
from virtualpool.graph.hooks import unfit_hook
from virtualpool.graph.observing import Observed, observed
from virtualpool.graph.parts import Part, Traced, trace
from virtualpool.graph.placement import is_before_pool, placement
from virtualpool.graph.remembering import answers_remembered
from virtualpool.graph.state import copy_of
from virtualpool.operator.pool import output_size
from virtualpool.plan import Follows, check_module, plan_of, wrapper_of
from virtualpool.torch_private import CONVOLUTION
from virtualpool.words import nearest, some

POOLED = "already pooled"
"""Why a pooled site is not eligible."""


@dataclass(frozen=True)
class Site:
    """One convolution of a model.

    Attributes:
        name: its fully-qualified module name.
        kernel: kernel size per axis.
        stride: stride per axis; of a pooled site, before it was doubled.
        in_shape: shape of its input on the example inputs; empty if it was not reached. Where it is
            called several times, as by a detector's head for each map of a pyramid, of the first.
        out_shape: shape of its output, full size also of a pooled site; empty if not reached.
        macs: multiply-accumulates per image as the model stands, of all its calls.
        follows: where the virtual pool would go: behind the activation that follows the
            convolution, else its normalisation, else the convolution itself.
        before_pool: whether a pooling layer comes next (the robust sites; paper, figure 2).
        eligible: whether it can be pooled now.
        reason: why it is not eligible; None if it is.
    """

    name: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    macs: int
    follows: Follows
    before_pool: bool
    eligible: bool
    reason: str | None


@answers_remembered()
def sites(model: nn.Module, example_inputs: Any) -> list[Site]:
    """Every convolution of a model in the order of execution; unreached ones come last.

    Args:
        model: any module; it is not changed.
        example_inputs: a tensor, a tuple of positional or a dict of keyword arguments.

    Returns:
        A `Site` for each convolution, eligible or not: its name, its output's shape, its
        multiply-accumulates, and the reason why it cannot be pooled.

    Raises:
        VirtualPoolError: the model does not run on the example inputs.

    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    >>> [site] = sites(model, torch.zeros(1, 3, 32, 32))
    >>> site.name, site.out_shape, site.macs, site.follows, site.before_pool, site.eligible
    ('0', (1, 8, 32, 32), 221184, 'activation', True, True)
    """
    check_model(model)
    copied = copy_of(model)
    return sites_of(copied, example_inputs, trace(copied, example_inputs))


def sites_of(model: nn.Module, example_inputs: Any, traced: Traced) -> list[Site]:
    """`sites` of a model that was traced."""
    nodes = _nodes_by_name(traced)
    pooled = plan_of(model).names
    return [
        _pooled_site(seen, nodes.get(name))
        if name in pooled
        else _site(seen, nodes.get(name), traced)
        for name, seen in observed(model, example_inputs).items()
    ]


def named(name: str, available: Sequence[Site]) -> Site:
    """The site of a name.

    Raises:
        VirtualPoolError: there is none.
    """
    by_name = {site.name: site for site in available}
    if name not in by_name:
        inside = some(other for other in by_name if other.startswith(f"{name}."))
        near = nearest(name, by_name, alike=0) or ", and no other convolution either"
        raise VirtualPoolError(
            f"The model has no convolution {name!r}{f'; in it are {inside}' if inside else near}. "
            "virtualpool.sites(model, example_inputs) lists them all."
        )
    return by_name[name]


def check_eligible(site: Site) -> None:
    """Refuses a site that cannot be pooled now.

    Raises:
        VirtualPoolError: it is not eligible, and why.
    """
    if not site.eligible:
        raise VirtualPoolError(
            f"{site.name} (output {site.out_shape}) cannot be pooled: {site.reason}. Leave it out."
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
        given, chosen = available, eligible
    else:
        given = [named(name, available) for name in dict.fromkeys(names)]
        new = [site for site in given if site.reason != POOLED]
        for site in new:
            check_eligible(site)
        chosen = [site.name for site in new]
    if not chosen:
        reasons = "".join(
            f" {site.name} (output {site.out_shape}): {site.reason}."
            for site in given[:1]
            if site.reason
        )
        raise VirtualPoolError(
            f"No site to pool: {len(available)} convolutions, {len(eligible)} of them eligible, "
            f"none chosen.{reasons} virtualpool.sites(model, example_inputs) gives each reason."
        )
    return chosen


def check_model(model: nn.Module) -> None:
    """Refuses objects that look like a model and cannot be pooled.

    Raises:
        VirtualPoolError: not a module, or one that is wrapped, scripted, or without shapes or
            values yet.
    """
    check_module(model)
    if kind := wrapper_of(model):
        raise VirtualPoolError(f"The model is wrapped in {kind}: pool it first, then wrap it.")
    if isinstance(model, torch.jit.ScriptModule):
        raise VirtualPoolError("The model is scripted: pool the module that it was made from.")
    if any(isinstance(module, LazyModuleMixin) for module in model.modules()):
        raise VirtualPoolError("The model has lazy modules without shape: run it once first.")
    if on_meta := [name for name, weight in model.named_parameters() if weight.is_meta]:
        raise VirtualPoolError(
            f"{on_meta[0]} is on the meta device, which keeps no values: build the model on a real "
            "device and load its weights first."
        )


@dataclass(frozen=True)
class _Nodes:
    """The calls of one convolution in the graphs of the part that it is in."""

    part: Part
    evaluation: list[fx.Node]
    training: list[fx.Node]


def _nodes_by_name(traced: Traced) -> dict[str, _Nodes]:
    return {
        name: _Nodes(part, part.calls(part.evaluation, name), part.calls(part.training, name))
        for part in traced.parts
        for name in dict.fromkeys(
            part.full_name(node.target)
            for graph in (part.evaluation, part.training)
            for node in graph.find_nodes(op="call_module")
            if isinstance(part.module.get_submodule(str(node.target)), CONVOLUTION)
        )
    }


def _pooled_site(seen: Observed, nodes: _Nodes | None) -> Site:
    arguments = size_arguments(seen.module, is_pooled=True)
    site = replace(_placed(seen, nodes, POOLED), stride=arguments[1])
    if not seen.in_shapes:
        return site
    size = output_size(torch.empty(seen.in_shape, device="meta"), *arguments)
    return replace(site, out_shape=(*seen.out_shape[:-2], *size))


def _site(seen: Observed, nodes: _Nodes | None, traced: Traced) -> Site:
    reason = _why_not_by_itself(seen) or _why_not_in_graph(seen, nodes, traced)
    return _placed(seen, nodes, reason)


def _placed(seen: Observed, nodes: _Nodes | None, reason: str | None) -> Site:
    if nodes is None or not nodes.evaluation:
        return _as_site(seen, "conv", False, reason)
    node, module = nodes.evaluation[0], nodes.part.module
    return _as_site(seen, placement(node, module)[1], is_before_pool(node, module), reason)


def _as_site(seen: Observed, follows: Follows, before_pool: bool, reason: str | None) -> Site:
    return Site(
        name=seen.names[0],
        kernel=seen.kernel,
        stride=per_axis(seen.module.stride, len(seen.kernel)) or (),
        in_shape=seen.in_shape,
        out_shape=seen.out_shape,
        macs=seen.macs,
        follows=follows,
        before_pool=before_pool,
        eligible=reason is None,
        reason=reason,
    )


def _why_not_by_itself(seen: Observed) -> str | None:
    if not isinstance(seen.module, nn.Conv2d):
        return f"a {type(seen.module).__name__}, not a two-dimensional convolution"
    if len(seen.names) > 1:
        return f"one module under several names ({', '.join(seen.names)})"
    if not seen.in_shapes:
        return "not reached by the example inputs in eval mode"
    if len(seen.out_shape) != 4:
        return "its input has no batch axis"
    if seen.out_shape[2] < 2:
        return "its output has one row"
    if seen.out_shape[3] < 2:
        return "its output has one column"
    if not seen.keeps_samples:
        return f"with its stride doubled, {type(seen.module).__name__} gives other samples"
    return None


def _why_not_in_graph(seen: Observed, nodes: _Nodes | None, traced: Traced) -> str | None:
    if nodes is None:
        return _why_untraced(seen.names[0], traced)
    for mode, calls in (("evaluation", nodes.evaluation), ("training", nodes.training)):
        if not calls:
            return f"not used in {mode}"
        if len(calls) > 1 and not seen.reads_pyramid:
            return f"used {'twice' if len(calls) == 2 else f'{len(calls)} times'} in {mode}"
    part = nodes.part
    hooked = unfit_hook(nodes.evaluation[0], part.module, seen.in_shape, seen.out_shape)
    if hooked is not None:
        return f"with its stride doubled, a hook of {part.full_name(hooked)} gives other samples"
    return None


def _why_untraced(name: str, traced: Traced) -> str:
    around = [
        whole for whole in traced.untraced if whole in ("", name) or name.startswith(whole + ".")
    ]
    if not around:
        return "its parameters are used without calling it"
    innermost = max(around, key=len)
    return f"inside {innermost or 'the model'}, which {traced.untraced[innermost]}"
