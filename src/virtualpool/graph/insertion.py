"""Virtual pools after sites, and padded borders before convolutions, in a traced graph."""

from torch import fx, nn

from virtualpool.graph.geometry import padding_sides, size_arguments
from virtualpool.graph.placement import input_of, placement
from virtualpool.operator.border import Runs, padded_border
from virtualpool.operator.pool import output_size, virtual_pool


def recover(graph: fx.Graph, node: fx.Node, convolution: nn.Conv2d, module: nn.Module) -> None:
    """Adds a virtual pool after one call of a site.

    Args:
        graph: the graph.
        node: the call.
        convolution: the site, with its own stride and padding yet.
        module: the graph was traced from it.
    """
    end, _ = placement(node, module)
    with graph.inserting_before(node):
        size = graph.call_function(output_size, (input_of(node), *size_arguments(convolution)))
    with graph.inserting_after(end):
        full = graph.call_function(virtual_pool, (end, size))
    end.replace_all_uses_with(full, delete_user_cb=lambda user: user is not full)


def read_padded(
    graph: fx.Graph, node: fx.Node, convolution: nn.Conv2d, channels: Runs = ()
) -> None:
    """Lets one call of a convolution, with its own padding yet, read padded borders.

    Args:
        graph: the graph.
        node: the call.
        convolution: the one that is called.
        channels: of its input, which have such borders; none are all.
    """
    left, _, above, _ = padding_sides(convolution)
    source = input_of(node)
    with graph.inserting_before(node):
        given = (source, (above, left), channels) if channels else (source, (above, left))
        bordered = graph.call_function(padded_border, given)
    node.replace_input_with(source, bordered)
