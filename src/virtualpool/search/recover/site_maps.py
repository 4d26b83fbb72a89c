"""The maps that pooled sites give, beside those of the original at their even positions."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from virtualpool.fuse.sites import observing
from virtualpool.operators import kind_of
from virtualpool.placement import placement
from virtualpool.plan import plan_of
from virtualpool.state import copy_of
from virtualpool.trace import Part, trace


@dataclass(frozen=True)
class SiteMap:
    """Where the map of a site is found in the original and in the pooled model.

    Attributes:
        name: the site.
        module: the convolution or the normalisation after it, by its qualified name.
        activation: what the virtual pool comes after, applied to the output of `module`.
    """

    name: str
    module: str
    activation: Callable[[Tensor], Tensor]


def site_maps(original: nn.Module, pooled: nn.Module, images: Any) -> list[SiteMap]:
    """The maps of all sites that `pooled` has and whose end is found in the original's code.

    Args:
        original: the model before pooling.
        pooled: the model with virtual pools.
        images: an example of what both take.
    """
    traced = trace(copy_of(original), images)
    return [
        _site_map(name, part, node)
        for name in plan_of(pooled).names
        for part in traced.parts
        for node in part.calls(part.evaluation, name)[-1:]
    ]


@contextmanager
def maps_of(model: nn.Module, sites: list[SiteMap]) -> Iterator[dict[str, Tensor]]:
    """The maps of sites, by their names, in the call of a model within.

    Of a site that is called several times, the map of the last call.
    """
    found: dict[str, Tensor] = {}
    with observing() as observed, outputs_of(model, [site.module for site in sites]) as outputs:
        yield found
    for site in sites:
        is_fused = site.name in observed
        map = observed[site.name] if is_fused else site.activation(outputs[site.module])
        found[site.name] = map


@contextmanager
def outputs_of(model: nn.Module, names: list[str]) -> Iterator[dict[str, Tensor]]:
    """The outputs of modules in the call of a model within."""
    found: dict[str, Tensor] = {}

    def keeper(name: str) -> Callable[..., None]:
        return lambda module, arguments, output: found.__setitem__(name, output)

    handles = [model.get_submodule(name).register_forward_hook(keeper(name)) for name in names]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _site_map(name: str, part: Part, convolution: fx.Node) -> SiteMap:
    end, follows = placement(convolution, part.module)
    before = end.all_input_nodes[0] if follows == "activation" else end
    if before.op != "call_module":
        # A normalisation that is no module has no output to hook.
        return SiteMap(name, name, _same)
    activation = _activation(end, part.module) if follows == "activation" else _same
    return SiteMap(name, part.full_name(before.target), activation)


def _same(map: Tensor) -> Tensor:
    return map


def _activation(node: fx.Node, module: nn.Module) -> Callable[[Tensor], Tensor]:
    """What an activation's node does, on a copy: some work in place."""
    assert kind_of(node, module) == "activation"
    if node.op == "call_module":
        function: Any = module.get_submodule(str(node.target))
    elif node.op == "call_method":
        function = getattr(Tensor, str(node.target))
    else:
        function = node.target
    rest, keywords = node.args[1:], node.kwargs
    return lambda map: function(map.clone(), *rest, **keywords)
