"""Convolutions as functions of their weights, with the batch norm that follows folded in."""

import operator
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from virtualpool.fuse.questions.values import Values
from virtualpool.graph.arguments import arguments_of
from virtualpool.graph.geometry import padding_sides, pair, runs_as_conv2d
from virtualpool.graph.operations import is_hooked, runs_forward_of
from virtualpool.operator.pool import output_size


def as_functions(graph: fx.Graph, values: Values) -> None:
    """Replaces every plain convolution by a call of `torch.conv2d` with its parameters.

    Then the kernel is a value of the graph like others, which can be folded. A convolution with
    hooks, or with a `forward` of its own, stays a module.
    """
    for node in graph.find_nodes(op="call_module"):
        convolution = values.module.get_submodule(str(node.target))
        padding = _zero_padding(convolution)
        if padding is None or is_hooked(convolution):
            continue
        assert isinstance(convolution, nn.Conv2d)  # only those have such a padding
        with graph.inserting_before(node):
            weight = graph.get_attr(f"{node.target}.weight")
            bias = None if convolution.bias is None else graph.get_attr(f"{node.target}.bias")
            stride, dilation = pair(convolution.stride), pair(convolution.dilation)
            source = node.all_input_nodes[0]
            arguments = (source, weight, bias, stride, padding, dilation, convolution.groups)
            function = graph.call_function(torch.conv2d, arguments)
        function.meta[MODULE] = str(node.target)
        values.adopt(function, node)
        node.replace_all_uses_with(function)
        graph.erase_node(node)


def transposed_as_functions(graph: fx.Graph, values: Values) -> None:
    """Replaces plain transposed convolutions by `torch.conv_transpose2d`, as others are."""
    for node in graph.find_nodes(op="call_module"):
        module: Any = values.module.get_submodule(str(node.target))
        is_plain = runs_forward_of(module, nn.ConvTranspose2d) and module.padding_mode == "zeros"
        # A call may say the size that it wants.
        if not is_plain or is_hooked(module) or len(node.args) != 1 or node.kwargs:
            continue
        with graph.inserting_before(node):
            weight = graph.get_attr(f"{node.target}.weight")
            bias = None if module.bias is None else graph.get_attr(f"{node.target}.bias")
            geometry = module.stride, module.padding, module.output_padding
            arguments = (node.args[0], weight, bias, *geometry, module.groups, module.dilation)
            function = graph.call_function(torch.conv_transpose2d, arguments)
        function.meta[MODULE] = str(node.target)
        values.adopt(function, node)
        node.replace_all_uses_with(function)
        graph.erase_node(node)


MODULE = "virtualpool_module"
"""Where a node keeps the name of the module whose operation it is."""


def groups_as_numbers(graph: fx.Graph, values: Values) -> None:
    """Writes the groups of a convolution that are computed of its channels as the number they are.

    How many channels a map has is fixed by the weights.
    """
    for convolution in graph.find_nodes(op="call_function", target=torch.conv2d):
        arguments = arguments_of(convolution, NAMES)
        shapes = [values.shape(arguments[name]) for name in ("input", "weight")]
        groups = arguments.get("groups")
        if not isinstance(groups, fx.Node) or None in shapes:
            continue
        read, weight = shapes
        fixed = read[-3] // weight[1]  # pyright: ignore[reportOptionalSubscript]
        convolution.replace_input_with(groups, fixed)  # pyright: ignore[reportArgumentType]
        _erase_unused(groups)


def _erase_unused(node: fx.Node) -> None:
    """Erases the reading of a shape, if nobody uses it."""
    if not node.users and node.target in (operator.getitem, getattr, "size"):
        sources = node.all_input_nodes
        node.graph.erase_node(node)
        for source in sources:
            _erase_unused(source)


NAMES = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")


def fold_paddings(graph: fx.Graph, values: Values) -> None:
    """Lets a convolution pad for itself where zeros on both sides alike are added before it.

    A padding by nothing, as where a map could have had another size, is left out.
    """
    for padded in graph.find_nodes(op="call_function", target=functional.pad):
        sides: Any = arguments_of(padded, ("input", "pad")).get("pad")
        is_output = any(each.op == "output" for each in padded.users)
        if len(padded.all_input_nodes) == 1 and not any(sides) and not is_output:
            padded.replace_all_uses_with(padded.all_input_nodes[0])
            graph.erase_node(padded)
    for convolution in graph.find_nodes(op="call_function", target=torch.conv2d):
        arguments: Any = convolution.args
        if len(arguments) < 5 or not isinstance(arguments[0], fx.Node):
            continue
        padded, weight, bias, stride, padding, *rest = arguments
        zeros, own = _added_zeros(padded, values), pair(padding)
        # A site's map is recovered to a size, which is computed from what the site reads.
        sizes = [each for each in padded.users if each.target is output_size]
        if zeros is not None and own is not None and len(padded.users) == len(sizes) + 1:
            padding = own[0] + zeros[0], own[1] + zeros[1]
            convolution.args = (padded.args[0], weight, bias, stride, padding, *rest)
            for each in sizes:
                _, kernel, strides, (rows, columns), dilation = cast("tuple[Any, ...]", each.args)
                both = rows + 2 * zeros[0], columns + 2 * zeros[1]
                each.args = (padded.args[0], kernel, strides, both, dilation)
            graph.erase_node(padded)


def _added_zeros(node: fx.Node, values: Values) -> tuple[int, int] | None:
    """How many rows and columns of zeros are added on each side; none for other operations."""
    module: Any = values.submodule(node)
    sides: Any
    if type(module) in (nn.ZeroPad2d, nn.ConstantPad2d) and not is_hooked(module):
        sides, mode, value = module.padding, "constant", module.value
    elif node.target is functional.pad:
        given = arguments_of(node, ("input", "pad", "mode", "value"))
        sides, mode, value = given["pad"], given.get("mode", "constant"), given.get("value")
    else:
        return None
    if mode != "constant" or value or values.size(node) is None or not node.args:
        return None
    if not all(isinstance(side, int) and side >= 0 for side in sides) or len(sides) != 4:
        return None
    left, right, top, bottom = sides
    return (top, left) if (top, left) == (bottom, right) else None


def fold_batch_norms(graph: fx.Graph, values: Values) -> None:
    """Folds each batch norm in eval mode into the convolution whose only user it is."""
    for node in graph.find_nodes(op="call_module"):
        norm: Any = values.module.get_submodule(str(node.target))
        convolution = node.all_input_nodes[0] if node.all_input_nodes else None
        if (
            convolution is None
            or convolution.target is not torch.conv2d
            or len(convolution.args) < 3  # written in another way by the user
            or len(convolution.users) > 1
            or not runs_forward_of(norm, nn.BatchNorm2d)
            or norm.running_mean is None
            or is_hooked(norm)
        ):
            continue
        with graph.inserting_before(convolution):
            names = ("weight", "bias", "running_mean", "running_var")
            given = [
                graph.get_attr(f"{node.target}.{name}") if getattr(norm, name) is not None else None
                for name in names
            ]
            source, weight, bias, *geometry = convolution.args
            scale = graph.call_function(norm_scale, (given[0], given[3], norm.eps))
            scaled = graph.call_function(scaled_weight, (weight, scale))
            shifted = graph.call_function(shifted_bias, (bias, scale, given[2], given[1], weight))
        values.adopt(scaled, weight)
        convolution.args = (source, scaled, shifted, *geometry)
        node.replace_all_uses_with(convolution)
        graph.erase_node(node)


def norm_scale(weight: Tensor | None, variance: Tensor, eps: float) -> Tensor:
    """The factor of each channel in batch norm in eval, (C,); at least in float32."""
    wide = variance.float() if variance.dtype.itemsize < 4 else variance
    scale = (wide + eps).rsqrt()
    return scale if weight is None else scale * weight


def scaled_weight(weight: Tensor, scale: Tensor) -> Tensor:
    """A kernel (C, in, rows, columns) whose outputs are multiplied by (C,)."""
    return (weight * scale.view(-1, 1, 1, 1)).to(weight.dtype)


def shifted_bias(
    bias: Tensor | None, scale: Tensor, mean: Tensor, norm_bias: Tensor | None, weight: Tensor
) -> Tensor:
    """The bias (C,) of a convolution and the batch norm after it, in the dtype of its weight."""
    shifted = -mean if bias is None else bias - mean
    shifted = shifted * scale
    return (shifted if norm_bias is None else shifted + norm_bias).to(weight.dtype)


def _zero_padding(convolution: nn.Module) -> tuple[int, ...] | None:
    """The padding on each side of a plain convolution; none for others."""
    if not isinstance(convolution, nn.Conv2d) or not runs_as_conv2d(convolution):
        return None
    if convolution.padding_mode != "zeros":
        return None
    left, right, top, bottom = padding_sides(convolution)
    return (top, left) if (top, left) == (bottom, right) else None
