"""Hooks from a site to the place of its virtual pool: they get a reduced map."""

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, fx, nn

from virtualpool.graph.geometry import double_stride, is_near
from virtualpool.graph.inputs import for_model
from virtualpool.graph.operations import has_hooks_inside
from virtualpool.graph.placement import placement
from virtualpool.graph.running import evaluating
from virtualpool.graph.state import state_kept
from virtualpool.torch_private import has_backward_hooks, hooks_off

Shape = tuple[int, ...]


def _all(x: Tensor) -> Tensor:
    return x


def _even(x: Tensor) -> Tensor:
    return x[..., ::2, ::2]


def unfit_hook(site: fx.Node, module: nn.Module, given: Shape, out: Shape) -> str | None:
    """The module, as the graph names it, with a hook that does something else to a reduced map.

    A hook that only looks is fit, and one that changes each element by itself: of a map, or of
    a gradient.

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
            if not _agree(called, x, called, _even(x)):
                yield str(node.target)


def _random(shape: Shape, model: nn.Module) -> Tensor:
    return for_model(torch.randn(shape, generator=torch.Generator().manual_seed(0)), model)


def _agree(one: nn.Module, x: Tensor, other: nn.Module, reduced: Tensor) -> bool:
    """Whether a module's hooks change nothing, or `other` gives its result at even positions."""
    try:
        with state_kept(one):
            hooked = one(x.clone())
            with hooks_off(one):
                plain = one(x.clone())
            is_fit = torch.equal(hooked, plain) or _are_near(_even(hooked), other(reduced.clone()))
    except Exception:  # a hook takes no such map, or gives none
        return False
    return is_fit and gradients_agree(one, x, other, reduced)


def gradients_agree(
    one: nn.Module,
    x: Tensor,
    other: nn.Module,
    reduced: Tensor,
    even: Callable[[Tensor], Tensor] = _even,
) -> bool:
    """Whether a module's hooks change no gradient, or `reduced` has the same one as `x` there.

    Args:
        one: the module.
        x: its input.
        other: gives its result at even positions.
        reduced: the input of `other`: the same, or its even positions.
        even: gives the even positions of a map.
    """
    if not any(map(has_backward_hooks, one.modules())):
        return True
    try:
        expected = _gradient(one, x, even)
        with hooks_off(one):
            plain = _gradient(one, x, even)
    except Exception:  # nobody goes back through it
        return True
    try:
        found = _gradient(other, reduced, _all)
    except Exception:  # a hook takes no such gradient
        return False
    kept = expected if found.shape == expected.shape else even(expected)
    return torch.equal(expected, plain) or _are_near(kept, found)


def _gradient(module: nn.Module, x: Tensor, part: Callable[[Tensor], Tensor]) -> Tensor:
    """The gradient of a module's input, of which a part of its result has one, the rest zeros."""
    with state_kept(module), torch.enable_grad():
        given = x.clone().requires_grad_()
        result = module(given.clone())
        gradient = torch.zeros_like(result)
        filled = part(gradient)
        filled.copy_(torch.linspace(-1, 1, filled.numel()).view_as(filled))
        return torch.autograd.grad(result, given, gradient)[0]


def _are_near(expected: Tensor, found: Tensor) -> bool:
    return found.shape == expected.shape and is_near(found, expected)
