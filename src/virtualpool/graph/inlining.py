"""A call of a module replaced by the operations that the module is made of."""

from typing import Any

from torch import fx

from virtualpool.graph.arguments import check_value
from virtualpool.plan import join


def inline(node: fx.Node, inner: fx.Graph) -> bool:
    """Replaces a call of a module by its operations; says whether it did.

    Args:
        node: calls a module, by arguments without keywords.
        inner: the graph of that module. If its result is not one value, the call stays.

    >>> from torch import nn
    >>> model = nn.Sequential(nn.Sequential(nn.ReLU()))
    >>> graph = fx.Graph()
    >>> call = graph.call_module("0", (graph.placeholder("x"),))
    >>> inline(call, fx.symbolic_trace(model[0]).graph)
    True
    >>> [node.target for node in graph.find_nodes(op="call_module")]
    ['0.0']
    """
    placeholders = list(inner.find_nodes(op="placeholder"))
    [output] = inner.find_nodes(op="output")
    result: Any = output.args[0]
    if not isinstance(result, fx.Node):
        return False
    # A missing argument has its default, for which the graph was traced.
    new: dict[fx.Node, Any] = {each: next(iter(each.args), None) for each in placeholders}
    new.update(zip(placeholders, node.args, strict=False))
    with node.graph.inserting_before(node):
        for each in inner.nodes:
            if each.op not in ("placeholder", "output") and each.target is not check_value:
                new[each] = node.graph.node_copy(each, new.__getitem__)
                new[each].meta = dict(node.meta)
                if each.op in ("get_attr", "call_module"):
                    new[each].target = join(str(node.target), str(each.target))
    node.replace_all_uses_with(new[result])
    node.graph.erase_node(node)
    return True
