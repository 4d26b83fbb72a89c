"""A convolution of unshuffled pixels, made one of the map before: its taps are at the pixels."""

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from virtualpool.fuse.passes.convolutions import NAMES
from virtualpool.fuse.questions.values import Values
from virtualpool.graph.arguments import arguments_of
from virtualpool.graph.geometry import pair
from virtualpool.graph.operations import is_hooked, runs_forward_of
from virtualpool.operator.pool import Axes, output_size


def fold_unshuffles(graph: fx.Graph, values: Values) -> None:
    """Lets each convolution of an unshuffled virtual pool read that one, with as many taps."""
    for convolution in graph.find_nodes(op="call_function", target=torch.conv2d):
        given = arguments_of(convolution, NAMES)
        unshuffled, weight, shape = given["input"], given["weight"], values.shape(given["weight"])
        factor = _factor(unshuffled, values)
        stride, padding, dilation = (
            pair(given.get(name, usual))
            for name, usual in (("stride", 1), ("padding", 0), ("dilation", 1))
        )
        if factor is None or shape is None or stride is None or padding is None:
            continue
        if dilation != (1, 1) or given.get("groups", 1) != 1:
            continue
        with graph.inserting_before(convolution):
            taps = graph.call_function(taps_at_pixels, (weight, factor))
        channels, rows, columns = shape[1] // factor**2, shape[2] * factor, shape[3] * factor
        values.learn(taps, (shape[0], channels, rows, columns))
        convolution.args = (
            unshuffled.all_input_nodes[0],
            taps,
            given.get("bias"),
            *_multiplied([stride, padding], factor),
            (1, 1),
            1,
        )
        convolution.kwargs = {}
        for size in [each for each in unshuffled.users if each.target is output_size]:
            _, *geometry, spread = size.args
            size.args = (unshuffled.all_input_nodes[0], *_multiplied(geometry, factor), spread)
        if not unshuffled.users:
            graph.erase_node(unshuffled)


def _multiplied(geometry: Any, factor: int) -> list[Axes]:
    return [(rows * factor, columns * factor) for rows, columns in geometry]


def taps_at_pixels(weight: Tensor, factor: int) -> Tensor:
    """A kernel for unshuffled pixels, as the kernel with an even stride for the map before.

    >>> taps_at_pixels(torch.arange(4.0).view(1, 4, 1, 1), 2)
    tensor([[[[0., 1.],
              [2., 3.]]]])
    """
    return functional.pixel_shuffle(weight, factor)


def _factor(node: Any, values: Values) -> int | None:
    """By how much a node unshuffles a virtual pool; none where it does something else."""
    if not isinstance(node, fx.Node):
        return None
    module = values.submodule(node)
    if module is None:
        is_unshuffle = node.target is functional.pixel_unshuffle
    else:
        is_unshuffle = runs_forward_of(module, nn.PixelUnshuffle) and not is_hooked(module)
    if not is_unshuffle or len(node.all_input_nodes) != 1:
        return None
    source = node.all_input_nodes[0]
    factor = arguments_of(node, ("input", "downscale_factor"), module).get("downscale_factor")
    is_even = isinstance(factor, int) and factor % 2 == 0
    is_virtual_pool = source in values.interpolated and values.size(source) is not None
    return factor if is_even and is_virtual_pool else None
