"""Numbers for each channel, by which a convolution's result is multiplied or moved: folded.

A frozen batch norm is such arithmetic, whatever it is called, and so is the scale of a layer.
"""

import operator
from functools import reduce
from typing import Any

import torch
from torch import Tensor, fx

from virtualpool.fuse.passes.convolutions import scaled_weight
from virtualpool.fuse.questions.values import Values

PURE: set[Any] = {
    *(operator.add, operator.sub, operator.mul, operator.truediv, operator.neg, operator.pow),
    *(torch.add, torch.sub, torch.mul, torch.div, torch.neg, torch.pow),
    *(torch.sqrt, torch.rsqrt, torch.reciprocal, torch.reshape, torch.unsqueeze, operator.getitem),
    *("add", "sub", "mul", "div", "neg", "pow"),
    *("sqrt", "rsqrt", "reciprocal", "reshape", "unsqueeze"),
}
"""Arithmetic that depends on its inputs alone, and is of parameters where these are."""

_TIMES, _OVER = (operator.mul, torch.mul, "mul"), (operator.truediv, torch.div, "div")
_PLUS, _MINUS = (operator.add, torch.add, "add"), (operator.sub, torch.sub, "sub")


def fold_scales(graph: fx.Graph, values: Values) -> None:
    """Folds scales and shifts of a convolution's channels into its weight and bias."""
    for node in list(graph.nodes):
        found = _operands(node, values)
        if found is None:
            continue
        convolution, other = found
        source, weight, bias, *geometry = convolution.args
        with graph.inserting_before(convolution):
            number = _copied(other, values, {})
            if node.target in (*_OVER, *_MINUS):
                inverse = torch.reciprocal if node.target in _OVER else torch.neg
                number = graph.call_function(inverse, (number,))
            if node.target in (*_PLUS, *_MINUS):
                bias = graph.call_function(moved_bias, (bias, number))
            else:
                scaled = graph.call_function(scaled_weight, (weight, number))
                values.adopt(scaled, weight)  # pyright: ignore[reportArgumentType]
                weight = scaled
                if bias is not None:
                    bias = graph.call_function(scaled_bias, (bias, number))
        convolution.args = (source, weight, bias, *geometry)
        node.replace_all_uses_with(convolution)
        graph.erase_node(node)
    for node in reversed(graph.nodes):
        if not node.users and (node.op == "get_attr" or node.target in PURE):
            graph.erase_node(node)


def scaled_bias(bias: Tensor, scale: Tensor) -> Tensor:
    """A bias (C,), each number multiplied by one of C.

    >>> scaled_bias(torch.ones(2), torch.tensor([[[[2.0]], [[3.0]]]]))
    tensor([2., 3.])
    """
    return bias * scale.flatten()


def moved_bias(bias: Tensor | None, shift: Tensor) -> Tensor:
    """A bias (C,), or none, to which C numbers are added.

    >>> moved_bias(torch.ones(2), torch.tensor([[[[2.0]], [[3.0]]]]))
    tensor([3., 4.])
    """
    return shift.flatten() if bias is None else bias + shift.flatten()


def _operands(node: fx.Node, values: Values) -> tuple[fx.Node, fx.Node] | None:
    """A convolution that a node alone reads, and the node's operand for each channel."""
    is_commutative = node.target in (*_TIMES, *_PLUS)
    if not is_commutative and node.target not in (*_OVER, *_MINUS):
        return None
    if node.kwargs or len(node.args) != 2:
        return None
    for convolution, other in (node.args, node.args[::-1])[: 1 + is_commutative]:
        if isinstance(other, fx.Node) and _takes(convolution, other, values):
            return convolution, other  # pyright: ignore[reportReturnType]
    return None


def _takes(convolution: Any, other: fx.Node, values: Values) -> bool:
    if not isinstance(convolution, fx.Node) or convolution.target is not torch.conv2d:
        return False
    if len(convolution.args) < 3 or len(convolution.users) > 1:
        return False
    weight: Any = convolution.args[1]
    shape, leaves = values.shape(weight), _leaves(other)
    if shape is None or leaves is None or values.size(convolution) is None:
        return False
    channels = shape[0]
    if values.shape(other) not in ((1, channels, 1, 1), (channels, 1, 1)):
        return False
    # Of another dtype, the result would be of another, too.
    dtypes = {getattr(_attribute(leaf, values), "dtype", None) for leaf in leaves + _inputs(weight)}
    return len(dtypes) == 1


def _leaves(node: fx.Node) -> list[fx.Node] | None:
    """The parameters and buffers that a value depends on; none if it depends on others too."""
    if node.op == "get_attr":
        return [node]
    if node.target not in PURE or not node.all_input_nodes:
        return None
    found = [_leaves(source) for source in node.all_input_nodes]
    return None if None in found else [leaf for leaves in found if leaves for leaf in leaves]


def _inputs(node: fx.Node) -> list[fx.Node]:
    """The parameters and buffers that a value is computed from."""
    if node.op == "get_attr":
        return [node]
    return [leaf for source in node.all_input_nodes for leaf in _inputs(source)]


def _attribute(node: fx.Node, values: Values) -> Any:
    return reduce(getattr, str(node.target).split("."), values.module)


def _copied(node: fx.Node, values: Values, copies: dict[fx.Node, fx.Node]) -> fx.Node:
    """A value once more: it may come later in the graph than where it is needed."""
    if node not in copies:
        sources = {each: _copied(each, values, copies) for each in node.all_input_nodes}
        copies[node] = node.graph.node_copy(node, sources.__getitem__)
        values.adopt(copies[node], node)
    return copies[node]
