"""Hooks from a site to the place of its virtual pool: they get a reduced map."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, fx, nn

from virtualpool.graph.geometry import double_stride, is_near
from virtualpool.graph.inputs import for_model
from virtualpool.graph.operations import has_hooks_inside
from virtualpool.graph.parts import evaluating
from virtualpool.graph.placement import placement
from virtualpool.graph.state import state_kept

Shape = tuple[int, ...]


def unfit_hook(site: fx.Node, module: nn.Module, given: Shape, out: Shape) -> str | None:
    """The module, as the graph names it, with a hook that does something else to a reduced map.

    A hook that only looks is fit, and one that changes each element by itself.

    Args:
        site: the node that calls the convolution.
        module: the graph was traced from it.
        given: the shape of the convolution's input.
        out: the shape of its result.
    """
    with evaluating(module):
        return next(_unfit_hooks(site, module, given, out), None)


def _unfit_hooks(site: fx.Node, module: nn.Module, given: Shape, out: Shape) -> Iterator[str]:
    convolution = module.get_submodule(str(site.target))
    assert isinstance(convolution, nn.Conv2d)  # no other is asked about
    if has_hooks_inside(convolution):
        x = _random(given, convolution)
        doubled = copy.copy(convolution)
        double_stride(doubled)
        if not _agree(convolution, x, doubled, x):
            yield str(site.target)
    end, _ = placement(site, module)
    node = site
    while node is not end:
        (node,) = node.users
        called = module.get_submodule(str(node.target)) if node.op == "call_module" else None
        if called is not None and has_hooks_inside(called):
            x = _random(out, convolution)
            if not _agree(called, x, called, x[..., ::2, ::2]):
                yield str(node.target)


def _random(shape: Shape, model: nn.Module) -> Tensor:
    return for_model(torch.randn(shape, generator=torch.Generator().manual_seed(0)), model)


def _agree(one: nn.Module, x: Tensor, other: nn.Module, reduced: Tensor) -> bool:
    """Whether a module's hooks change nothing, or `other` gives its result at even positions."""
    try:
        with state_kept(one):
            hooked, plain = one(x.clone()), one.forward(x.clone())
            if torch.equal(hooked, plain):
                return True
            expected, found = hooked[..., ::2, ::2], other(reduced.clone())
    except Exception:  # a hook takes no such map, or gives none
        return False
    return found.shape == expected.shape and is_near(found, expected)
