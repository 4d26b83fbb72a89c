"""Layer norms of interpolated maps taken apart: the mathematics is in `kernels/layer_norm.py`."""

from collections.abc import Callable
from typing import Any

from torch import fx, nn
from torch.nn import functional

from virtualpool.fuse.kernels.layer_norm import bias_of_shifted, centred, divided, scaled_columns
from virtualpool.fuse.passes.convolutions import MODULE
from virtualpool.fuse.questions.values import Values
from virtualpool.graph.operations import is_hooked


def take_apart(graph: fx.Graph, values: Values) -> None:
    """Replaces each layer norm of an interpolated map, and the linear layer that alone reads it."""
    for norm in graph.find_nodes(op="call_module"):
        linear = next(iter(norm.users), None)
        if linear is not None and _can_be_taken_apart(norm, linear, values):
            _replace(norm, linear, values)


def _can_be_taken_apart(norm: fx.Node, linear: fx.Node, values: Values) -> bool:
    module: Any = values.submodule(norm)
    if not _is_plain(module, nn.LayerNorm) or not _is_plain(values.submodule(linear), nn.Linear):
        return False
    source = norm.all_input_nodes[0]
    channels_are_last = 3 not in (values.axes(source) or (3,))
    is_over_channels = channels_are_last and len(module.normalized_shape) == 1
    return is_over_channels and source in values.interpolated and len(norm.users) == 1


def _is_plain(module: nn.Module | None, kind: type[nn.Module]) -> bool:
    is_own = type(module) is kind and "forward" not in vars(module)
    return is_own and module is not None and not is_hooked(module)


def _replace(norm: fx.Node, linear: fx.Node, values: Values) -> None:
    graph, source = norm.graph, norm.all_input_nodes[0]
    module: Any = values.submodule(norm)

    def parameter(node: fx.Node, name: str) -> fx.Node | None:
        held = getattr(values.submodule(node), name)
        return None if held is None else graph.get_attr(f"{node.target}.{name}")

    def call(like: fx.Node, function: Callable[..., Any], *arguments: Any) -> fx.Node:
        node = graph.call_function(function, arguments)
        node.meta[MODULE] = str(linear.target)
        values.adopt(node, like)
        return node

    with graph.inserting_before(linear):
        matrix, bias = parameter(linear, "weight"), parameter(linear, "bias")
        scale, shift = parameter(norm, "weight"), parameter(norm, "bias")
        assert matrix is not None
        if shift is not None:
            bias = graph.call_function(bias_of_shifted, (bias, shift, matrix))
        if scale is not None:
            matrix = call(matrix, scaled_columns, matrix, scale)
        centre = call(source, centred, source)
        product = call(linear, functional.linear, centre, matrix)
        result = call(linear, divided, product, centre, bias, module.eps)
    linear.replace_all_uses_with(result)
    graph.erase_node(linear)
    graph.erase_node(norm)
