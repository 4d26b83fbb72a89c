"""Values that are spread over a map before arithmetic that would do so by itself.

Spreading asks for the size of the map, and by a map for all of it.
"""

from torch import fx

from virtualpool.fuse.questions.values import Values
from virtualpool.graph.operations import ARITHMETIC

_SPREADING = ("expand", "expand_as")


def without_expansions(graph: fx.Graph, values: Values) -> None:
    """Gives arithmetic on a map its operand from before an expansion: `x * y.expand_as(x)`."""
    for method in _SPREADING:
        for node in graph.find_nodes(op="call_method", target=method):
            if all(_spreads(user, node, values) for user in node.users):
                node.replace_all_uses_with(node.args[0])
                graph.erase_node(node)


def _spreads(user: fx.Node, expanded: fx.Node, values: Values) -> bool:
    others = [source for source in user.all_input_nodes if source is not expanded]
    shapes = {values.shape(source) for source in others}
    return user.target in ARITHMETIC and values.shape(expanded) in shapes
