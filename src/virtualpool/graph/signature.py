"""A traced graph that takes and gives what the `forward` of its module does, where fx differs."""

import inspect
from collections.abc import Collection
from typing import Any

from torch import fx, nn

from virtualpool.graph.arguments import (
    check_absent,
    check_length,
    check_tensor,
    check_value,
)
from virtualpool.graph.parameters import STARS, in_order_of_fx
from virtualpool.torch_private import PH, pytree, unflattened

_CHECKS = (check_length, check_tensor, check_value)


def restore_parameters(
    graph: fx.Graph,
    module: nn.Module,
    fixed: dict[str, Any],
    absent: Collection[str],
    *,
    is_closed: bool,
) -> None:
    """Gives a graph the parameters of `forward`, where fx has one per leaf of a fixed one.

    Args:
        graph: of the module.
        module: the module.
        fixed: its arguments that are held fixed.
        absent: the names of `*args` and `**kwargs` that the example leaves empty.
        is_closed: whether these stay so.
    """
    placeholders = list(graph.find_nodes(op="placeholder"))
    for parameter in in_order_of_fx(module):
        name = parameter.name
        if name not in fixed:
            given, *placeholders = placeholders
            is_absent = given.target in absent
            if is_absent or (is_closed and parameter.kind not in STARS):
                with graph.inserting_before(_body(graph)):
                    check = check_absent if is_absent else check_tensor
                    graph.call_function(check, (name, given))
            continue
        leaves, structure = pytree.tree_flatten_with_path(fixed[name])
        nodes, placeholders = placeholders[: len(leaves)], placeholders[len(leaves) :]
        for node, (_, value) in zip(nodes, leaves, strict=True):
            if value is not PH:
                _erase_users(graph, node)  # fx's own checks: the code has the value itself.
        if structure.is_leaf():
            nodes[0].target = name
            with graph.inserting_before(_body(graph)):
                _check(graph, name, nodes[0], fixed[name])
            continue
        with graph.inserting_before([*nodes, *placeholders, _body(graph)][0]):
            gathered = graph.placeholder(name, default_value=parameter.default)
        with graph.inserting_before(_body(graph)):
            graph.call_function(check_length, (name, gathered, len(leaves)))
            for node, (path, value) in zip(nodes, leaves, strict=True):
                item = _item(gathered, path)
                _check(graph, name + pytree.keystr(path), item, value)
                node.replace_all_uses_with(item)
        for node in nodes:
            graph.erase_node(node)


def order_parameters(graph: fx.Graph, module: nn.Module) -> None:
    """Gives a graph's parameters the order of `forward`, which fx does not keep."""
    nodes = {str(node.target).lstrip("*"): node for node in graph.find_nodes(op="placeholder")}
    parameters = list(inspect.signature(module.forward).parameters.values())
    ordered = [nodes[parameter.name] for parameter in parameters]
    for node in reversed(ordered):
        next(iter(graph.nodes)).prepend(node)
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return
    # fx writes no bare `*`, so behind a default there has to be another.
    for node, parameter in zip(ordered, parameters, strict=True):
        if parameter.kind is parameter.KEYWORD_ONLY and not node.args:
            node.args = (None,)
            if not any(user.target in _CHECKS for user in node.users):
                with graph.inserting_before(_body(graph)):
                    graph.call_function(check_tensor, (parameter.name, node))


def restore_output(tracer: fx.Tracer) -> None:
    """Gives a traced graph the structure that `forward` returns, where fx has flattened it."""
    (output,) = tracer.graph.find_nodes(op="output")
    structure = unflattened(tracer.graph)
    if structure is None:
        return
    leaves = [
        fx.Proxy(leaf, tracer) if isinstance(leaf, fx.Node) else leaf
        for leaf in output.args[0]  # pyright: ignore
    ]
    with tracer.graph.inserting_before(output):
        output.args = (tracer.create_arg(pytree.tree_unflatten(leaves, structure)),)


def _check(graph: fx.Graph, name: str, node: fx.Node, value: Any) -> None:
    if value is not PH:
        graph.call_function(check_value, (name, node, value))


def _erase_users(graph: fx.Graph, node: fx.Node) -> None:
    for user in list(node.users):
        _erase_users(graph, user)
        graph.erase_node(user)


def _body(graph: fx.Graph) -> fx.Node:
    # Between placeholders there is code already, of a structure that came before others.
    placeholders = list(graph.find_nodes(op="placeholder"))
    return placeholders[-1].next if placeholders else next(iter(graph.nodes))


def _item(structure: fx.Node, path: pytree.KeyPath) -> fx.Node:
    """Takes an item from a structure, by the keys of a path."""
    item = fx.Proxy(structure)
    for key in path:
        item = key.get(item)
    return item.node
