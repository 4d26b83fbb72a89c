"""Layer norm over channels, taken apart where a linear layer reads it, so that this keeps means.

Layer norm subtracts the mean of a position's channels, divides by their deviation and multiplies by
a weight for each channel. Of these only the division does not keep means; and as it is by one
number for each position, it may as well come after the linear layer:

    W (g (x - mean) / deviation + b) + c  =  (W g) (x - mean) / deviation + (W b + c)

So the matrix is multiplied by the cells of an interpolated map, by a quarter of its positions.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from virtualpool.fuse.kernels.recording import may_write_in_place
from virtualpool.fuse.passes.convolutions import MODULE
from virtualpool.fuse.questions.values import Values
from virtualpool.graph.operations import is_hooked
from virtualpool.operator.autocast import without_autocast


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


def scaled_columns(matrix: Tensor, scale: Tensor) -> Tensor:
    """A matrix (out, C) for channels that are to be multiplied by (C,)."""
    return (matrix * scale).to(matrix.dtype)


def bias_of_shifted(bias: Tensor | None, shift: Tensor, matrix: Tensor) -> Tensor:
    """The bias (out,) of a linear layer to whose channels (C,) is to be added."""
    with without_autocast(matrix):
        shifted = matrix @ shift.to(matrix.dtype)
    return shifted if bias is None else bias + shifted


def centred(x: Tensor) -> Tensor:
    """A map whose channels, the last axis, have the mean zero at each position.

    >>> centred(torch.tensor([1.0, 2.0, 6.0]))
    tensor([-2., -1.,  3.])
    """
    return x - x.mean(-1, keepdim=True)


def divided(product: Tensor, centre: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    """A linear function of centred channels, divided by their deviation as in layer norm.

    Args:
        product: of the centred channels, (..., out); it is overwritten where nobody sees it.
        centre: the centred channels, (..., C).
        bias: (out,), added then; or none.
        eps: added to the variance.

    >>> divided(torch.tensor([[8.0]]), torch.tensor([[-2.0, 2.0]]), torch.tensor([0.5]), 0.0)
    tensor([[4.5000]])
    """
    wide = centre.float() if centre.dtype.itemsize < 4 else centre
    scale = (wide.square().mean(-1, keepdim=True) + eps).rsqrt().to(product.dtype)
    if bias is not None:
        bias = bias.to(product.dtype)
    if may_write_in_place(product):
        product = product.mul_(scale)
        return product if bias is None else product.add_(bias)
    return product * scale if bias is None else torch.addcmul(bias, product, scale)
