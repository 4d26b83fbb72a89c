"""Which sums of a pooled model are made of recovered maps alone, so that they can stay reduced."""

from torch import fx

from virtualpool.fuse.fusing import Pooled, Prepare
from virtualpool.fuse.questions import decisions
from virtualpool.graph.parts import Part
from virtualpool.graph.sums import activated_sums, is_recovered_behind, recover_behind, sum_behind
from virtualpool.plan import RecoveredSum

_NUMBER = "virtualpool_sum"


def sums_of_recovered_maps(pooled: Pooled) -> set[RecoveredSum]:
    """The activated sums of which every summand is a recovered map, or follows from such alone.

    Such a sum gains nothing from being computed in full: of each summand the cells alone are known.
    One with a full summand is left out, for that has every position.
    """
    return {*pooled.found(_recovered)}


def _recovered(part: Part, graph: fx.Graph, prepare: Prepare) -> list[RecoveredSum]:
    """The activated sums that are made of recovered maps, and are not moved yet."""
    for number, activation in enumerate(activated_sums(graph, part.module)):
        if not is_recovered_behind(activation):
            recover_behind(activation).meta[_NUMBER] = number
    values = prepare()
    tried = {node: node.meta[_NUMBER] for node in graph.nodes if _NUMBER in node.meta}

    def is_recovered(node: fx.Node) -> bool:
        return node not in tried or sum_behind(node) in values.interpolated

    decisions.mark(graph, values, is_recovered)
    found = [number for node, number in tried.items() if node in values.interpolated]
    return [RecoveredSum(part.name, number) for number in found]
