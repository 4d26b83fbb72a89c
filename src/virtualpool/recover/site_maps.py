"""The maps that pooled sites give, beside the original's at their even positions."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, fx, nn

from virtualpool.fuse import report_of
from virtualpool.fuse.kernels.sites import observed, observing
from virtualpool.graph.image_scale import relative_scale
from virtualpool.graph.parts import Part, trace
from virtualpool.graph.placement import placement
from virtualpool.graph.state import copy_of
from virtualpool.plan import plan_of
from virtualpool.sites import sites_of

Activation = Callable[[nn.Module, Tensor], Tensor]
Keep = Callable[[Tensor], None]


@dataclass(frozen=True)
class SiteMap:
    """Where the maps of a site are found in the original and in the pooled model.

    Attributes:
        name: the site.
        module: the convolution or the normalisation after it, by its qualified name.
        activation: the function before the virtual pool, of the model and of the output of
            `module`; it makes a new tensor. The code that follows may change its own in place.
        is_pooled: whether the pooled model has a reduced map there.
    """

    name: str
    module: str
    activation: Activation
    is_pooled: bool = True


def site_maps(original: nn.Module, pooled: nn.Module, images: Any) -> list[SiteMap]:
    """The maps of all sites that `pooled` has and whose end is found in the original's code.

    Of a model that only sees its images at another scale, the maps of all eligible sites: it is
    taught by as many maps as a pooled one.

    Args:
        original: the model before pooling.
        pooled: the model with virtual pools.
        images: an example of both models' inputs.
    """
    copied = copy_of(original)
    traced = trace(copied, images)
    names, is_pooled = plan_of(pooled).names, True
    if not names and relative_scale(pooled, original) != 1:
        is_pooled = False
        names = [site.name for site in sites_of(copied, images, traced) if site.eligible]
    found = [site for name in names for site in _of_site(name, traced.parts)]
    return [replace(site, is_pooled=is_pooled) for site in found]


@contextmanager
def maps_of(model: nn.Module, sites: list[SiteMap]) -> Iterator[dict[str, list[Tensor]]]:
    """The maps of sites, by their names, of each of their calls in the call of a model within."""
    report = report_of(model)
    told = report.sites if report else ()
    keepers = [(site.module, _observer(site, model)) for site in sites if site.name not in told]
    with observing() as maps, outputs_to(model, keepers):
        yield maps


@contextmanager
def outputs_to(model: nn.Module, keepers: list[tuple[str, Keep]]) -> Iterator[None]:
    """Hands the outputs of modules, by their names, to functions in the call of a model within."""

    def hook(keep: Keep) -> Callable[..., None]:
        return lambda module, arguments, output: keep(output)

    handles = [
        model.get_submodule(name).register_forward_hook(hook(keep)) for name, keep in keepers
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _of_site(name: str, parts: list[Part]) -> list[SiteMap]:
    """The maps of a site, one for each module that it ends with; none if an end is not found."""
    found: dict[str, SiteMap] = {}
    for part in parts:
        for convolution in part.calls(part.evaluation, name):
            end = _end(part, convolution)
            if end is None:
                return []
            found[end[0]] = SiteMap(name, *end)
    return [*found.values()]


def _end(part: Part, convolution: fx.Node) -> tuple[str, Activation] | None:
    """The module that a site ends with, but for its activation, and the activation.

    None where it ends with a function of more than its map, which is not to be called apart.
    """
    end, follows = placement(convolution, part.module)
    before, *others = end.all_input_nodes if follows == "activation" else [end]
    if before.op != "call_module" or others:
        return None
    return part.full_name(before.target), activation_of(part, end if end is not before else None)


def activation_of(part: Part, node: fx.Node | None) -> Activation:
    """The effect of an activation's node, on a copy: some work in place."""
    if node is None:
        return lambda model, x: x.clone()
    if node.op == "call_module":
        name = part.full_name(node.target)
        return lambda model, x: model.get_submodule(name)(x.clone())
    is_method = node.op == "call_method"
    function: Any = getattr(Tensor, str(node.target)) if is_method else node.target
    rest, keywords = node.args[1:], node.kwargs
    return lambda model, x: function(x.clone(), *rest, **keywords)


def _observer(site: SiteMap, model: nn.Module) -> Keep:
    def observe(output: Tensor) -> None:
        observed(site.activation(model, output), site.name)

    return observe
