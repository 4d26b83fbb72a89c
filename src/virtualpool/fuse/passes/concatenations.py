"""A convolution of maps beside each other, of which only some are recovered, made one of each.

As a U-Net has it: beside a skip that was recovered there is an enlarged map, so their concatenation
is no virtual pool, and a convolution would have to read all of it in full. The convolution of a
concatenation is the sum of the convolutions of its parts, with as many multiplications; each then
reads its part in the best way, and the parts are not copied beside each other.
"""

from collections.abc import Callable
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, fx

from virtualpool.fuse.passes.convolutions import NAMES
from virtualpool.fuse.questions.enlargements import enlargement_of
from virtualpool.fuse.questions.values import Values
from virtualpool.graph.arguments import arguments_of
from virtualpool.graph.geometry import pair
from virtualpool.operator.border import Runs, padded_border
from virtualpool.operator.pool import Axes, output_size

REST = "virtualpool rest"
"""A node has this key that is the convolution of another part than the first with its border."""

_BORDERED, _REDUCED, _FULL = "bordered", "reduced", "full"
_CONCATENATIONS = (torch.cat, torch.concat, torch.concatenate)
Parts = list[tuple[Any, list[fx.Node]]]
"""The maps of a concatenation in runs that are read alike, each after its kind."""


def take_apart(graph: fx.Graph, values: Values) -> None:
    """Splits each concatenation, with a border or without, that only convolutions can read so."""
    is_padded = bool(graph.find_nodes(op="call_function", target=padded_border))
    for target in (padded_border, *_CONCATENATIONS):
        for node in graph.find_nodes(op="call_function", target=target):
            source, padding, runs = _bordered(node)
            parts = _parts(source, runs, values)
            # With padded borders a convolution of a part alone would have an exact one.
            if parts is None or (is_padded and _REDUCED in [kind for kind, _ in parts]):
                continue
            readers = [each for each in node.users if each.target is not output_size]
            if all(_can_be_split(each, node, values) for each in readers):
                for reader in readers:
                    _split(reader, parts, padding, values)
                for each in dict.fromkeys((node, source)):
                    _erase(each, parts[0][1][0])
    for node in reversed(graph.nodes):  # those that stood in others
        if node.target in _CONCATENATIONS and not node.users:
            graph.erase_node(node)


def _erase(node: fx.Node, other: fx.Node) -> None:
    """Erases a value of which only sizes are asked; another map that has its size gives these."""
    if all(each.target is output_size for each in node.users):
        for each in list(node.users):
            each.replace_input_with(node, other)
        node.graph.erase_node(node)


def border_parts(graph: fx.Graph, values: Values) -> None:
    """Lets convolutions that would read padded borders do so of the recovered parts alone."""
    for node in graph.find_nodes(op="call_function", target=padded_border):
        source, padding, runs = _bordered(node)
        maps = _maps(source, values)
        if runs or maps is None or source in values.interpolated:
            continue
        found = _channels(maps, values, lambda it: it in values.interpolated)
        if found:
            node.args = (source, padding, found)


def input_channels(weight: Tensor, first: int, count: int) -> Tensor:
    """Some input channels of a kernel (out, in, rows, columns)."""
    return weight[:, first : first + count]


def _bordered(node: fx.Node) -> tuple[Any, Axes, Runs]:
    """What a node gives to convolutions, the border that it adds, and to which channels."""
    if node.target is not padded_border:
        return node, (0, 0), ()
    source, padding, *runs = node.args
    return source, padding, (runs[0] if runs else ())  # pyright: ignore


def _maps(node: fx.Node, values: Values) -> list[fx.Node] | None:
    """The maps that stand beside each other in a concatenation along the channels.

    Of one in it that is no virtual pool, its own maps.
    """
    if node.target not in _CONCATENATIONS or node.op != "call_function":
        return None
    given: Any = arguments_of(node, ("tensors", "dim"))
    maps = given["tensors"]
    is_of_channels = given.get("axis", given.get("dim", 0)) in (1, -3)
    are_maps = isinstance(maps, tuple | list) and all(values.size(each) for each in maps)
    if not is_of_channels or not are_maps:
        return None
    return [each for it in maps for each in _inner(it, values)]


def _inner(map: fx.Node, values: Values) -> list[fx.Node]:
    inner = None if map in values.interpolated else _maps(map, values)
    return [map] if inner is None else inner


def _parts(node: fx.Node, runs: Runs, values: Values) -> Parts | None:
    """None where the concatenation is best as it is, or a part has a border for a half of it."""
    maps = _maps(node, values)
    if maps is None or node in values.interpolated:
        return None
    first, kinds = 0, {}
    for place, each in enumerate(maps):
        end = first + _count(each, values)
        with_border = sum(max(0, min(end, last) - max(first, begin)) for begin, last in runs)
        if with_border not in (0, end - first):
            return None
        kinds[place] = _BORDERED if with_border else _kind(each, values)
        first = end
    grouped = groupby(range(len(maps)), kinds.__getitem__)
    parts = [(kind, [maps[place] for place in run]) for kind, run in grouped]
    return parts if any(kind != _FULL for kind, _ in parts) else None


def _kind(part: fx.Node, values: Values) -> Any:
    if part in values.interpolated:
        return _REDUCED
    # Each enlarged map has a map of its own before.
    return part if enlargement_of(part, values) is not None else _FULL


def _channels(maps: list[fx.Node], values: Values, are: Callable[[fx.Node], bool]) -> Runs:
    """The channels of some of the maps beside each other: the first, and the one after the last."""
    first, found = 0, []
    for each in maps:
        end = first + _count(each, values)
        if are(each):
            found.append((first, end))
        first = end
    return tuple(found)


def _count(map: fx.Node, values: Values) -> int:
    shape = values.shape(map)
    assert shape is not None  # known of maps
    return shape[1]


def _can_be_split(reader: fx.Node, node: fx.Node, values: Values) -> bool:
    if reader.target is not torch.conv2d:
        return False
    given = arguments_of(reader, NAMES)
    stride, weight = pair(given.get("stride", 1)), values.shape(given["weight"])
    is_even = stride is not None and all(step % 2 == 0 for step in stride)
    reads_between = weight is not None and max(weight[2:]) > 1
    has_one_border = node.target is not padded_border or pair(given.get("padding", 0)) == (0, 0)
    is_whole = given.get("groups", 1) == 1 and given["input"] is node
    return is_even and reads_between and has_one_border and is_whole


def _split(reader: fx.Node, parts: Parts, border: Axes, values: Values) -> None:
    """Replaces a convolution by the sum of the parts' convolutions; `border` is outside of it."""
    graph, given = reader.graph, arguments_of(reader, NAMES)
    stride, own, dilation = (
        given.get(name, usual) for name, usual in (("stride", 1), ("padding", 0), ("dilation", 1))
    )
    weight: Any = given["weight"]
    shape = values.shape(weight)
    assert shape is not None  # known of one that can be split
    whole, bias, first, is_first = None, given.get("bias"), 0, True
    with graph.inserting_before(reader):
        for kind, maps in parts:
            source = maps[0] if len(maps) == 1 else graph.call_function(torch.cat, (maps, 1))
            channels = sum(_count(each, values) for each in maps)
            values.learn(source, _with_channels(values.shape(maps[0]), channels))
            padding = own if border == (0, 0) else border
            if kind == _BORDERED:
                size = values.size(source) or (0, 0)
                source, padding = graph.call_function(padded_border, (source, border)), (0, 0)
                rows, columns = size[0] + 2 * border[0], size[1] + 2 * border[1]
                values.learn(source, (1, channels, rows, columns))
            taps = graph.call_function(input_channels, (weight, first, channels))
            values.learn(taps, _with_channels(shape, channels))
            arguments = (source, taps, bias, stride, padding, dilation, 1)
            made = graph.call_function(torch.conv2d, arguments)
            made.meta.update(reader.meta)
            if kind != _BORDERED or not is_first:
                made.meta[REST] = True
            is_first &= kind != _BORDERED
            values.adopt(made, reader)
            if whole is not None:
                made = graph.call_function(torch.add, (whole, made))
                made.meta.update(reader.meta)
                values.adopt(made, reader)
            whole, bias, first = made, None, first + channels
    assert whole is not None  # there are parts
    reader.replace_all_uses_with(whole)
    graph.erase_node(reader)


def _with_channels(shape: Any, channels: int) -> tuple[int, ...]:
    return (shape[0], channels, *shape[2:])
