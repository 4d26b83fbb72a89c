"""Lipschitz constants of activations: by how much they can multiply a difference."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from virtualpool.graph.operations import runs_forward_of

_CONSTANTS = {
    "abs": 1.0, "clamp": 1.0, "clip": 1.0, "gelu": 1.13, "hardsigmoid": 1 / 6, "hardswish": 1.5,
    "hardtanh": 1.0, "logsigmoid": 1.0, "mish": 1.09, "neg": 1.0, "relu": 1.0, "relu6": 1.0,
    "selu": 1.7581, "sigmoid": 0.25, "silu": 1.1, "softshrink": 1.0, "softsign": 1.0, "tanh": 1.0,
    "tanhshrink": 1.0,
}  # fmt: skip
_OF_ARGUMENTS: dict[str, tuple[tuple[str, ...], Callable[..., float | None]]] = {
    "celu": (("alpha",), lambda alpha=1.0: 1.0 if alpha > 0 else None),
    "elu": (("alpha",), lambda alpha=1.0: max(1.0, abs(alpha))),
    "leakyrelu": (
        ("negative_slope",),
        lambda negative_slope=0.01: max(1.0, abs(negative_slope)),
    ),
    "prelu": (("weight",), lambda weight: max(1.0, weight.abs().max().item())),
    # Where it becomes the identity it jumps, by no more than rounding if that is far enough out.
    "softplus": (
        ("beta", "threshold"),
        lambda beta=1.0, threshold=20.0: 1.0 if threshold >= 20 else None,
    ),
}
_KNOWN = {*_CONSTANTS, *_OF_ARGUMENTS}


def constant(name: str, arguments: Mapping[str, Any]) -> float | None:
    """The Lipschitz constant of an activation, rounded up; None where it has none or is not known.

    Args:
        name: as `activation_name` gives it.
        arguments: of the activation, by name.

    >>> constant("leakyrelu", {"negative_slope": 0.2}), constant("threshold", {})
    (1.0, None)
    """
    if name in _CONSTANTS:
        return _CONSTANTS[name]
    if name not in _OF_ARGUMENTS:
        return None
    names, of = _OF_ARGUMENTS[name]
    return of(**{each: arguments[each] for each in names if each in arguments})


def activation_name(target: Any) -> str:
    """One name for a function, a method (by its name) and a module that do the same.

    Empty for any other than PyTorch's own that have a constant.

    >>> (
    ...     activation_name(functional.leaky_relu),
    ...     activation_name(nn.LeakyReLU()),
    ...     activation_name("relu_"),
    ... )
    ('leakyrelu', 'leakyrelu', 'relu')
    """
    if isinstance(target, nn.Module):
        kind = type(target)
        is_own = getattr(nn, kind.__name__, None) is kind and runs_forward_of(target, kind)
        name = kind.__name__.lower()
        return name if is_own and name in _KNOWN else ""
    return _without_underscores(target) if isinstance(target, str) else _FUNCTIONS.get(target, "")


def argument_names(name: str) -> tuple[str, ...]:
    """The arguments after its input on which the constant of an activation depends."""
    return _OF_ARGUMENTS[name][0] if name in _OF_ARGUMENTS else ()


def _without_underscores(name: str) -> str:
    return name.replace("_", "")


_FUNCTIONS: dict[Any, str] = {
    getattr(place, name): _without_underscores(name)
    for place in (torch, functional)
    for name in dir(place)
    if _without_underscores(name) in _KNOWN
}
