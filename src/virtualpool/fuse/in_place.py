"""Operations that change their input, made ones that give a new value.

Which values of a graph are there in full is decided by who asks for them: nobody may change one
under another's hands.
"""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from virtualpool.fuse import reduced


class UnfusableError(Exception):
    """Why a graph is left as it is."""


_MODULES: dict[type[nn.Module], tuple[Callable[..., Any], tuple[str, ...]]] = {
    nn.ReLU: (functional.relu, ()),
    nn.ReLU6: (functional.relu6, ()),
    nn.Hardtanh: (functional.hardtanh, ("min_val", "max_val")),
    nn.LeakyReLU: (functional.leaky_relu, ("negative_slope",)),
    nn.ELU: (functional.elu, ("alpha",)),
    nn.CELU: (functional.celu, ("alpha",)),
    nn.SELU: (functional.selu, ()),
    nn.SiLU: (functional.silu, ()),
    nn.Mish: (functional.mish, ()),
    nn.Hardswish: (functional.hardswish, ()),
    nn.Hardsigmoid: (functional.hardsigmoid, ()),
}
_VIEWS: set[Any] = {
    operator.getitem, getattr, torch.chunk, torch.split, torch.narrow, torch.select,
    torch.transpose, torch.permute, torch.flatten, torch.reshape,
    torch.squeeze, torch.unsqueeze, torch.unbind,
    "chunk", "split", "narrow", "select", "transpose", "permute", "flatten", "reshape", "squeeze",
    "unsqueeze", "unbind", "view", "expand", "detach", "contiguous", "T", "view_as", "expand_as",
}  # fmt: skip
_OPERATORS = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}


def without_changes_in_place(graph: fx.Graph, module: nn.Module) -> None:
    """Rewrites a graph so that no operation changes its input, where it is known how.

    What is not known works on a copy. Whoever reads the changed input later in the graph is given
    the result in its place.
    """
    for node in list(graph.nodes):
        if not _changes_input(node, module):
            continue
        changed = node.args[0] if node.args else next(iter(node.kwargs.values()))
        assert isinstance(changed, fx.Node)
        if changed.target in _VIEWS:
            raise UnfusableError(f"{node.name} changes a part of another value in place")
        _replace(node, changed, module)
        _read_result_instead(changed, node)


def _changes_input(node: fx.Node, module: nn.Module) -> bool:
    if node.op == "call_module":
        return bool(getattr(module.get_submodule(str(node.target)), "inplace", False))
    if node.op == "call_method":
        return _ends_in_place(str(node.target))
    if node.op != "call_function":
        return False
    return (
        node.target in _OPERATORS
        or node.kwargs.get("inplace") is True
        or _ends_in_place(getattr(node.target, "__name__", ""))
    )


def _ends_in_place(name: str) -> bool:
    return name.endswith("_") and not name.endswith("__")


def _replace(node: fx.Node, changed: fx.Node, module: nn.Module) -> None:
    if node.op == "call_module":
        inner = module.get_submodule(str(node.target))
        if type(inner) in _MODULES:
            function, names = _MODULES[type(inner)]
            node.op, node.target = "call_function", function
            node.kwargs = {name: getattr(inner, name) for name in names}
            return
    elif node.op == "call_method" and hasattr(torch.Tensor, str(node.target)[:-1]):
        node.target = str(node.target)[:-1]
        return
    elif node.target in _OPERATORS:
        node.target = _OPERATORS[node.target]  # pyright: ignore[reportArgumentType]
        return
    elif node.kwargs.get("inplace") is True:
        node.kwargs = {**node.kwargs, "inplace": False}
        return
    elif (pure := _pure_function(node.target)) is not None:
        node.target = pure
        return
    with node.graph.inserting_before(node):
        copy = node.graph.call_function(torch.clone, (changed,))
    node.replace_input_with(changed, copy)


def _pure_function(function: Any) -> Any:
    name = function.__name__.removesuffix("_")
    return next(
        (getattr(place, name) for place in (torch, functional) if hasattr(place, name)), None
    )


def _read_result_instead(changed: fx.Node, result: fx.Node) -> None:
    seen = False
    later = set()
    for node in result.graph.nodes:
        if seen:
            later.add(node)
        seen = seen or node is result
    changed.replace_all_uses_with(result, delete_user_cb=lambda user: user in later)


def reuse_memory(graph: fx.Graph) -> None:
    """Lets activations overwrite what a convolution has made for them alone."""
    for node in graph.nodes:
        if node.target not in _OVERWRITING or node.op != "call_function":
            continue
        source = node.args[0]
        if len(source.users) == 1 and source.op == "call_function" and source.target in _FRESH:
            node.kwargs = {**node.kwargs, "inplace": True}


_OVERWRITING = {function for function, _ in _MODULES.values()}
_FRESH: set[Any] = {
    torch.conv2d,
    reduced.convolution,
    reduced.mended_convolution,
    operator.add,
    torch.add,
}
