"""Channel shuffling, which libraries write as two views and a transposition."""

import operator
from typing import Any

import torch
from torch import fx
from torch.nn import functional

from virtualpool.fuse.questions.values import Values

_VIEWS = ("view", "reshape", torch.reshape)
_HELPERS = ("contiguous", "size", getattr, operator.getitem, operator.floordiv)
_TRANSPOSITIONS = ("transpose", "swapaxes", torch.transpose, torch.swapaxes)


def name_shuffles(graph: fx.Graph, values: Values) -> None:
    """Replaces view, transpose, view by `channel_shuffle` where they do the same."""
    for node in list(graph.nodes):
        source = _shuffled(node, values)
        if source is None:
            continue
        shape = values.shape(_inner(node))
        assert shape is not None
        # The groups were brought behind the channels of each.
        groups = shape[2]
        with graph.inserting_before(node):
            shuffle = graph.call_function(functional.channel_shuffle, (source, groups))
        values.adopt(shuffle, node)
        node.replace_all_uses_with(shuffle)
        _erase_unused(graph)


def _erase_unused(graph: fx.Graph) -> None:
    for node in reversed(graph.nodes):
        if not node.users and node.target in (*_VIEWS, *_TRANSPOSITIONS, *_HELPERS):
            graph.erase_node(node)


def _shuffled(node: fx.Node, values: Values) -> fx.Node | None:
    """The map whose channels a node has shuffled."""
    transposed = _inner(node)
    if node.target not in _VIEWS or transposed is None or transposed.target not in _TRANSPOSITIONS:
        return None
    axes = transposed.args[1:]
    grouped = transposed.all_input_nodes[0]
    source: Any = grouped.args[0] if grouped.target in _VIEWS else None
    shapes = [values.shape(each) for each in (source, grouped, transposed, node)]
    if axes not in ((1, 2), (2, 1)) or None in shapes or values.size(source) is None:
        return None
    before, split, swapped, after = shapes
    batch, channels, *size = before  # pyright: ignore
    groups, each = split[1:3]  # pyright: ignore
    is_same = (
        split == (batch, groups, each, *size)
        and groups * each == channels
        and swapped == (batch, each, groups, *size)
        and after == before
    )
    return source if is_same else None


def _inner(node: fx.Node) -> fx.Node | None:
    """The source of a view, behind a copy that makes it contiguous."""
    source = node.args[0] if node.args else None
    if isinstance(source, fx.Node) and source.target == "contiguous":
        source = source.args[0]
    return source if isinstance(source, fx.Node) else None
