"""Activated sums, as at the end of a residual block, and the virtual pool behind one."""

import operator

import torch
from torch import fx, nn

from virtualpool.graph.operations import kind_of
from virtualpool.graph.placement import input_of
from virtualpool.operator.pool import cells, output_size, virtual_pool

_ADDITIONS = (operator.add, operator.iadd, torch.add, "add", "add_")


def activated_sums(graph: fx.Graph, module: nn.Module) -> list[fx.Node]:
    """The activations of sums that nothing else reads, in the order of execution.

    One that reads the cells of its sum, by `recover_behind`, is found too.

    >>> from torch.nn import functional
    >>> class Block(nn.Module):
    ...     def forward(self, x, y):
    ...         return functional.relu(x + y)
    >>> block = Block()
    >>> activated_sums(fx.symbolic_trace(block).graph, block)
    [relu]
    """
    return [node for node in graph.nodes if _is_of_a_sum(node, module)]


def is_recovered_behind(activation: fx.Node) -> bool:
    """Whether an activation reads the cells of its sum."""
    return input_of(activation).target is cells


def recover_behind(activation: fx.Node) -> fx.Node:
    """Lets an activation read the cells of its map, and recovers the result.

    Returns:
        The virtual pool.
    """
    graph, source = activation.graph, input_of(activation)
    with graph.inserting_before(activation):
        unchanged = ((1, 1), (1, 1), (0, 0), (1, 1))
        size = graph.call_function(output_size, (source, *unchanged))
        reduced = graph.call_function(cells, (source,))
    activation.replace_input_with(source, reduced)
    with graph.inserting_after(activation):
        full = graph.call_function(virtual_pool, (activation, size))
    activation.replace_all_uses_with(full, delete_user_cb=lambda user: user is not full)
    return full


def sum_behind(recovery: fx.Node) -> fx.Node:
    """The sum of a virtual pool that `recover_behind` made."""
    size = recovery.args[1]
    assert isinstance(size, fx.Node)
    return input_of(size)


def _is_of_a_sum(node: fx.Node, module: nn.Module) -> bool:
    if len(node.all_input_nodes) != 1 or kind_of(node, module) != "activation":
        return False
    source = input_of(node)
    if source.target is cells:
        return True
    while len(source.users) == 1 and kind_of(source, module) == "pass":
        source = input_of(source)
    summands = [each for each in source.args[:2] if isinstance(each, fx.Node)]
    return len(source.users) == 1 and source.target in _ADDITIONS and len(summands) == 2
