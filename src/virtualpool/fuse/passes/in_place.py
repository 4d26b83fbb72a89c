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

from virtualpool.fuse.kernels import reduced
from virtualpool.fuse.kernels.folded import folded_convolution
from virtualpool.fuse.kernels.sites import observed
from virtualpool.fuse.passes.convolutions import MODULE
from virtualpool.fuse.questions.values import UnfusableError, Values
from virtualpool.graph.operations import is_hooked, runs_forward_of

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


def without_changes_in_place(graph: fx.Graph, values: Values) -> None:
    """Rewrites a graph so that no operation changes its input.

    An operation without a known other form works on a copy. Later readers of the changed input
    in the graph are given the result in its place.

    Raises:
        UnfusableError: the change is seen in other values, or after the call.
    """
    results: dict[fx.Node, fx.Node] = {}
    later = set(graph.nodes)
    for node in list(graph.nodes):
        later.remove(node)
        if not values.changed_by(node):
            continue
        before = _changed(node, values)
        changed = _latest(before, results)
        is_result = values.returns(node, before)
        for seen in values.sharing(before):
            is_replaced = is_result and _latest(seen, results) is changed
            is_read = seen not in later and seen is not node and not later.isdisjoint(seen.users)
            if seen.op in ("placeholder", "get_attr") or (is_read and not is_replaced):
                raise UnfusableError(f"{node.name} changes {seen.name} in place")
        _replace(node, changed, values)
        if is_result:
            changed.replace_all_uses_with(node, delete_user_cb=later.__contains__)
            results[changed] = node


def _changed(node: fx.Node, values: Values) -> fx.Node:
    """The one input that a node changes in place; others may be views of it."""
    changed = values.changed_by(node)
    if len(changed) > 1:
        changed = [source for source in changed if values.returns(node, source)]
    if len(changed) != 1:
        raise UnfusableError(f"{node.name} changes several values in place")
    return changed[0]


def _latest(value: fx.Node, results: dict[fx.Node, fx.Node]) -> fx.Node:
    while value in results:
        value = results[value]
    return value


def _replace(node: fx.Node, changed: fx.Node, values: Values) -> None:
    module, name = values.submodule(node), getattr(node.target, "__name__", str(node.target))
    if _is_activation(module):
        _call_function(node, module)
    elif module is None and node.kwargs.get("inplace") is True:
        node.kwargs = {**node.kwargs, "inplace": False}
    elif module is None and name.endswith("_") and (pure := _pure(node, name[:-1])) is not None:
        node.target = pure
    else:
        with node.graph.inserting_before(node):
            copy = node.graph.call_function(torch.clone, (changed,))
        values.adopt(copy, changed)
        node.replace_input_with(changed, copy)


def activations_as_functions(graph: fx.Graph, values: Values) -> None:
    """Replaces modules that are activations by functions, which can be told where to write."""
    for node in graph.find_nodes(op="call_module"):
        module = values.submodule(node)
        if _is_activation(module):
            _call_function(node, module)


def _is_activation(module: nn.Module | None) -> bool:
    return (
        type(module) in _MODULES
        and module is not None
        and not is_hooked(module)
        and runs_forward_of(module, type(module))
    )


def _call_function(node: fx.Node, activation: Any) -> None:
    function, names = _MODULES[type(activation)]
    node.meta[MODULE] = str(node.target)
    node.op, node.target = "call_function", function
    node.kwargs = node.kwargs | {name: getattr(activation, name) for name in names}


def _pure(node: fx.Node, name: str) -> Any:
    if node.op == "call_method":
        return name if callable(getattr(torch.Tensor, name, None)) else None
    return next((getattr(each, name) for each in (torch, functional) if hasattr(each, name)), None)


def views_as_shapes(graph: fx.Graph) -> None:
    """Replaces views by operations that copy where they have to: a map may lie otherwise in memory.

    As nothing is changed in place any more, nobody sees whether it is a copy.
    """
    for node in graph.find_nodes(op="call_method", target="view"):
        is_of_dtype = any(isinstance(argument, torch.dtype) for argument in node.args)
        if not is_of_dtype and not node.kwargs:
            node.target = "reshape"
    for node in graph.find_nodes(op="call_method", target="view_as"):
        node.target = "reshape_as"


def reuse_memory(graph: fx.Graph) -> None:
    """Lets activations overwrite a convolution's result that they alone read."""
    for node in graph.nodes:
        if node.target not in _OVERWRITING or node.op != "call_function":
            continue
        if _is_fresh(node.args[0]):
            node.kwargs = {**node.kwargs, "inplace": True}


def write_into_frames(graph: fx.Graph) -> None:
    """Lets the extension of a reduced map write the ReLU before it straight into the larger map."""
    for node in graph.nodes:
        if node.op == "call_function" and node.target in _EXTENDING:
            chain = _rectified(node.args[0])
            source: Any = chain[-1].args[0] if chain else None
            if source is None or any(_would_come_late(each, node) for each in chain):
                continue
            if _is_fresh(source) or _only_reads(node, source):
                sites = [each.args[1] for each in chain if each.target is observed]
                node.args = (source, *node.args[1:])
                node.kwargs = (
                    node.kwargs | {"rectify": True} | ({"site": sites[0]} if sites else {})
                )
                for each in chain:
                    graph.erase_node(each)


def _would_come_late(node: fx.Node, reader: fx.Node) -> bool:
    """Whether a site's map, observed where it is read, would come after a later call's map."""
    if node.target is not observed:
        return False
    later = node.next
    while later is not reader:
        name = later.args[1] if later.target is observed else later.kwargs.get("site")
        if name == node.args[1]:
            return True
        later = later.next
    return False


def _only_reads(node: fx.Node, source: fx.Node) -> bool:
    """Whether a node, the only reader of a value, leaves it as it is in any mode."""
    return node.target is reduced.framed and len(source.users) == 1


def _rectified(value: fx.Node) -> list[fx.Node]:
    """A value's observers, from the last on, and the ReLU that makes it, if no other reads it."""
    chain = []
    while value.target is observed and len(value.users) == 1:
        chain.append(value)
        value = value.args[0]  # pyright: ignore[reportAssignmentType]
    if value.target not in _RECTIFYING or len(value.users) > 1:
        return []
    return [*chain, value]


def _is_fresh(value: fx.Node) -> bool:
    """Whether a value was made for one reader alone, in memory of its own."""
    return len(value.users) == 1 and value.op == "call_function" and value.target in _FRESH


_EXTENDING = (reduced.framed, reduced.mended_convolution)
_RECTIFYING = (functional.relu, torch.relu, "relu")
_OVERWRITING = {function for function, _ in _MODULES.values()}
_FRESH: set[Any] = {
    torch.conv2d,
    folded_convolution,
    reduced.convolution_of_frame,
    reduced.mended_convolution,
    operator.add,
    torch.add,
}
