"""The arguments of a module's call that a trace must know."""

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.fx.proxy import TraceError

from virtualpool.graph.arguments import can_be_checked
from virtualpool.graph.inputs import Call
from virtualpool.torch_private import PH, pytree

STARS = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def fixed_arguments(module: nn.Module, call: Call) -> dict[str, Any]:
    """The arguments that a trace must know: all that are not simply a given tensor.

    Without it `if targets is not None` would be taken for true.
    """
    bound = inspect.signature(module.forward).bind(*call[0], **call[1])
    given = {name for name, value in bound.arguments.items() if isinstance(value, torch.Tensor)}
    bound.apply_defaults()
    parameters = bound.signature.parameters
    fixed = {
        name: pytree.tree_map_only(torch.Tensor, lambda _: PH, value)
        for name, value in bound.arguments.items()
        if name not in given and parameters[name].kind not in STARS
    }
    for name, value in fixed.items():
        for leaf in pytree.tree_leaves(value):
            if leaf is not PH and not can_be_checked(leaf):
                # Values that the code takes from it, even tensors, would always be the example's.
                raise TraceError(f"{name} is a {type(leaf).__name__}, which a graph would fix")
    return fixed


def example_leaves(module: nn.Module, call: Call, fixed: dict[str, Any]) -> Iterator[Any]:
    """The values for fx's placeholders, in the order of these."""
    bound = inspect.signature(module.forward).bind(*call[0], **call[1])
    bound.apply_defaults()
    for parameter in in_order_of_fx(module):
        value = bound.arguments[parameter.name]
        yield from pytree.tree_leaves(value) if parameter.name in fixed else [value]


def in_order_of_fx(module: nn.Module) -> list[inspect.Parameter]:
    """The parameters of `forward` as fx has them: `*args` and `**kwargs` are last."""
    parameters = inspect.signature(module.forward).parameters.values()
    return sorted(parameters, key=lambda each: each.kind in STARS)


def takes_any_number(module: nn.Module) -> bool:
    """Whether `forward` has `*args` or `**kwargs`."""
    return any(each.kind in STARS for each in inspect.signature(module.forward).parameters.values())


def absent_arguments(module: nn.Module, call: Call) -> dict[Any, Any]:
    """The names of `*args` and `**kwargs` that are given nothing, with their stars; and nothing."""
    bound = inspect.signature(module.forward).bind(*call[0], **call[1])
    bound.apply_defaults()
    return {
        STARS[parameter.kind] + name: bound.arguments[name]
        for name, parameter in bound.signature.parameters.items()
        if parameter.kind in STARS and not bound.arguments[name]
    }
