"""Tensors that are given by keyword, as in `add(input=x, other=y)`, get their places."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx, nn

from virtualpool.graph.operations import has_hooks_inside, is_of_pytorch
from virtualpool.torch_private import signatures_of


def tensors_in_their_places(graph: fx.Graph, module: nn.Module) -> None:
    """Gives PyTorch's functions, methods and modules their tensors by place, as most code does.

    So what reads a graph finds a map in one place. Arguments that are no tensors stay as they are,
    and so does a module with hooks: these see how it was called.

    >>> graph = fx.Graph()
    >>> x, y = graph.placeholder("x"), graph.placeholder("y")
    >>> call = graph.call_function(torch.add, (), {"other": y, "input": x, "alpha": 2})
    >>> tensors_in_their_places(graph, nn.Module())
    >>> call.args, call.kwargs
    ((x, y), {'alpha': 2})
    """
    for node in graph.nodes:
        if not any(map(_holds_tensors, node.kwargs.values())):
            continue
        given, rest = [*node.args], dict(node.kwargs)
        for name in _names(node, module)[len(given) :]:
            if not _holds_tensors(rest.get(name)):
                break
            given.append(rest.pop(name))
        node.args, node.kwargs = tuple(given), rest


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, fx.Node) or (
        isinstance(value, list | tuple) and any(map(_holds_tensors, value))
    )


def _names(node: fx.Node, module: nn.Module) -> Sequence[str]:
    """The names of the arguments of PyTorch's operation that a node calls, in their order."""
    if node.op == "call_module":
        called = module.get_submodule(str(node.target))
        is_left = not is_of_pytorch(called) or has_hooks_inside(called)
        return [] if is_left else _placed(inspect.signature(called.forward))
    if node.op == "call_method":
        # Of a method in place there is often no function of that name.
        function = getattr(torch, str(node.target).rstrip("_"), None)
    else:
        source = getattr(node.target, "__module__", None) or "torch"
        function = node.target if source.partition(".")[0] == "torch" else None
    for signature in signatures_of(function) if callable(function) else ():
        try:
            signature.bind(*node.args, **node.kwargs)
        except TypeError:
            continue
        return _placed(signature)
    return []


def _placed(signature: inspect.Signature) -> list[str]:
    parameters = signature.parameters.values()
    # One function for two, as max pooling with and without its indices, hides what it takes.
    found = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    return found or ["input"]
