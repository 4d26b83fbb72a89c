"""Maps that are given by keyword, as in `relu(input=x)`, become first arguments."""

from torch import fx

from virtualpool.fuse.questions.values import Values
from virtualpool.graph.operations import has_hooks_inside, is_of_pytorch


def inputs_as_arguments(graph: fx.Graph, values: Values) -> None:
    """Gives PyTorch's functions and modules their `input`, which all have first, by its place.

    A module with hooks is left: these see how it was called.
    """
    for node in graph.nodes:
        if not node.args and "input" in node.kwargs and _is_of_pytorch(node, values):
            rest = dict(node.kwargs)
            node.args, node.kwargs = (rest.pop("input"),), rest


def _is_of_pytorch(node: fx.Node, values: Values) -> bool:
    module = values.submodule(node)
    if module is not None:
        return is_of_pytorch(module) and not has_hooks_inside(module)
    source = getattr(node.target, "__module__", None) or "torch"
    return node.op == "call_function" and source.partition(".")[0] == "torch"
