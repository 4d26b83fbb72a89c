"""A part of a model, with the inputs that it gets there: how detectors are exported."""

import inspect
from typing import Any

from torch import nn

from virtualpool.errors import VirtualPoolError
from virtualpool.graph.inputs import call
from virtualpool.words import nearest


def part_of(model: nn.Module, inputs: Any, name: str) -> tuple[nn.Module, Any]:
    """A submodule, and the inputs of its first call when the model runs on example inputs.

    Args:
        model: in eval mode.
        inputs: the model's.
        name: of the submodule, qualified.

    Raises:
        VirtualPoolError: there is no such submodule, or the model does not call it.

    >>> import torch
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    >>> part, inputs = part_of(model, torch.zeros(1, 3, 2, 2), "1")
    >>> type(part).__name__, inputs[0].shape
    ('Linear', torch.Size([1, 12]))
    """
    parts = dict(model.named_modules())
    if name not in parts:
        raise VirtualPoolError(
            f"{type(model).__name__} has no part {name!r:.60}{nearest(name, list(parts))}. Give "
            "the qualified name of a submodule."
        )
    calls: list[Any] = []

    def record(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        if not keywords:
            calls.append(arguments)
            return
        bound = inspect.signature(module.forward).bind(*arguments, **keywords)
        calls.append(dict(bound.arguments))

    handle = parts[name].register_forward_pre_hook(record, with_kwargs=True)
    try:
        call(model, inputs)
    finally:
        handle.remove()
    if not calls:
        raise VirtualPoolError(
            f"{type(model).__name__} does not call its part {name} on the example inputs, so its "
            "inputs are not known. Give a part that it calls, or example inputs on which it does."
        )
    return parts[name], calls[0]
