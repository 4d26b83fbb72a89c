"""Activated sums, as at the end of a residual block, and the virtual pool behind one."""

import inspect
import operator

import torch
from torch import fx, nn

from virtualpool.graph.keywords import tensors_in_their_places
from virtualpool.graph.operations import has_hooks_inside, is_of_pytorch, kind_of
from virtualpool.graph.placement import first_of, kind_alone, next_operation
from virtualpool.graph.proxies import results_on
from virtualpool.graph.remembering import remembered
from virtualpool.graph.state import state_kept
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
    found: set[fx.Node] = set()
    for node in graph.nodes:
        following = next_operation(node, module) if _is_sum(node) else None
        if following is not None and kind_alone(following, module) == "activation":
            found.add(following)
    # In their own order: cells stand beside an activation, and a sum maybe far before it.
    return [node for node in graph.nodes if node in found]


def sum_of(activation: fx.Node) -> fx.Node:
    """The sum that one of `activated_sums` activates."""
    node = first_of(activation)
    while not summands(node):
        node = first_of(node)
    return node


@remembered
def is_sum_module(module: nn.Module) -> bool:
    """Whether a module of the user's own does nothing but add its inputs, and activate.

    One whose sum is recovered behind its activation does no more.

    >>> class Add(nn.Module):
    ...     def forward(self, x, y):
    ...         return x + y
    >>> is_sum_module(Add()), is_sum_module(nn.ReLU())
    (True, False)
    """
    if is_of_pytorch(module) or len(inspect.signature(module.forward).parameters) < 2:
        return False
    if "forward" in vars(module) or module.state_dict() or has_hooks_inside(module):
        return False
    # The code may be any, and leave stand-ins for values behind.
    with state_kept(module):
        try:
            graph = fx.Tracer().trace(module)
        except Exception:
            return False
        if any(results_on(module)):
            return False
    tensors_in_their_places(graph, module)
    nodes = [*graph.nodes]
    return any(map(_is_sum, nodes)) and all(
        node.op in ("placeholder", "output")
        or _is_sum(node)
        or node.target in (output_size, virtual_pool)
        or kind_of(node, module) in ("activation", "pass")
        for node in nodes
    )


def is_recovered_behind(activation: fx.Node) -> bool:
    """Whether an activation reads the cells of its sum."""
    return first_of(activation).target is cells


def recover_behind(activation: fx.Node) -> fx.Node:
    """Lets an activation read the cells of its map, and recovers the result.

    Returns:
        The virtual pool.
    """
    graph, source = activation.graph, first_of(activation)
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
    return first_of(recovery.args[1])  # pyright: ignore[reportArgumentType]


def summands(node: fx.Node) -> list[fx.Node]:
    """The two values that a node adds; none where it adds no two."""
    found = [each for each in node.args[:2] if isinstance(each, fx.Node)]
    return found if node.target in _ADDITIONS and len(found) == 2 else []


def _is_sum(node: fx.Node) -> bool:
    """Whether a node adds two values, or is the cells of such a sum."""
    return node.target is cells or bool(summands(node))
