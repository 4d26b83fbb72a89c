"""Modules of the user's own, without convolutions, taken apart into operations that rules know.

A trace calls such a module as one operation (`tracer.Tracer`), and no rule knows which values it
reads. In a fused graph its operations stand instead: a scale per channel, a gate, a shuffle.
"""

import inspect
from typing import Any

import torch
from torch import fx, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.fuse.questions.rule import is_known
from virtualpool.fuse.questions.values import Values
from virtualpool.graph.inlining import inline
from virtualpool.graph.inputs import Call, for_model
from virtualpool.graph.operations import has_hooks_inside, is_hooked, is_of_pytorch
from virtualpool.graph.parts import trace_part
from virtualpool.graph.running import run
from virtualpool.graph.state import state_kept
from virtualpool.torch_private import versions_of


def without_identities(graph: fx.Graph, module: nn.Module) -> None:
    """Leaves out modules that return their input: a value that is changed has one name then."""
    for node in graph.find_nodes(op="call_module"):
        called = module.get_submodule(str(node.target))
        if type(called) is nn.Identity and not is_hooked(called):
            node.replace_all_uses_with(node.all_input_nodes[0])
            graph.erase_node(node)


def take_apart(graph: fx.Graph, values: Values) -> bool:
    """Replaces calls of a user's modules that read a map; says whether there was one.

    New nodes of the graph are not in the values yet; there may be modules among them.
    """
    found = False
    for node in graph.find_nodes(op="call_module"):
        inner = _operations(node, values) if _is_candidate(node, values) else None
        found |= inner is not None and inline(node, inner)
    without_identities(graph, values.module)
    return found


def _is_candidate(node: fx.Node, values: Values) -> bool:
    module = values.module.get_submodule(str(node.target))
    is_own = not is_of_pytorch(module) or type(module) is nn.Sequential
    reads_map = any(values.axes(source) for source in node.all_input_nodes)
    return reads_map and is_own and not has_hooks_inside(module) and not is_known(node, values)


def _operations(node: fx.Node, values: Values) -> fx.Graph | None:
    """The operations of a module in the values' mode; none where operations cannot say them."""
    module = values.module.get_submodule(str(node.target))
    shapes = [values.shape(argument) for argument in node.args]
    kinds = [each.kind for each in inspect.signature(module.forward).parameters.values()]
    if node.kwargs or None in shapes or set(kinds) != {inspect.Parameter.POSITIONAL_OR_KEYWORD}:
        return None
    maps = tuple(for_model(torch.rand(shape), values.module) for shape in shapes if shape)
    try:
        part, _ = trace_part(str(node.target), module, (maps, {}))
        if part is None or not _keeps_its_state(module, (maps, {})):
            return None
    except VirtualPoolError:  # it does not run on any values, or in any dtype
        return None
    return part.training if values.training else part.evaluation


def _keeps_its_state(module: nn.Module, call: Call) -> bool:
    """Whether a call leaves nothing behind that somebody might read, such as a map of attention."""

    def state() -> Any:
        return [
            ({name: id(value) for name, value in vars(each).items()}, _versions(each))
            for each in module.modules()
        ]

    with state_kept(module):
        before = state()
        run(module, call)
        return state() == before


def _versions(module: nn.Module) -> list[int]:
    return versions_of(module.buffers(recurse=False))
