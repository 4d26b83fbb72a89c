"""Values that depend on parameters alone are computed once, and again when these change."""

from typing import Any

from torch import fx, nn

from virtualpool.fuse.following import Folding, follow
from virtualpool.fuse.kernels.composed import bias_at_taps, fold_transposed, whole_bias
from virtualpool.fuse.kernels.enlarging import fold_enlarged
from virtualpool.fuse.kernels.folding import fold, spread
from virtualpool.fuse.kernels.layer_norm import bias_of_shifted, scaled_columns
from virtualpool.fuse.kernels.transposed import even_taps
from virtualpool.fuse.passes.concatenations import input_channels
from virtualpool.fuse.passes.convolutions import norm_scale, scaled_weight, shifted_bias
from virtualpool.fuse.passes.scales import PURE, moved_bias, scaled_bias
from virtualpool.fuse.passes.unshuffles import taps_at_pixels
from virtualpool.graph.forward import ForwardCode

_FOLDS = (
    fold, spread, norm_scale, scaled_weight, shifted_bias, scaled_columns, bias_of_shifted,
    scaled_bias, moved_bias, fold_enlarged, even_taps, input_channels, taps_at_pixels,
    fold_transposed, bias_at_taps, whole_bias,
)  # fmt: skip


def hoist(graph: fx.Graph, module: nn.Module) -> None:
    """Moves a graph's computations from parameters alone out of it, into buffers of the module.

    These follow the parameters where the module is `Folded`: see `virtualpool.fuse.following`.
    """
    constant = _merged(_constants(graph))
    results = [
        node
        for node in graph.nodes
        if node in constant
        and node.target in _FOLDS
        and any(user not in constant for user in node.users)
    ]
    if not results:
        return
    folding = _folding(results)
    for node, name in zip(results, follow(module, folding), strict=True):
        with graph.inserting_before(node):
            node.replace_all_uses_with(graph.get_attr(name))
    _erase_unused(graph)


def _folding(results: list[fx.Node]) -> Folding:
    """The results as a function of the parameters that they are computed from."""
    needed, wanted = set(results), list(results)
    while wanted:
        new = set(wanted.pop().all_input_nodes) - needed
        needed |= new
        wanted += new
    nodes = [node for node in results[0].graph.nodes if node in needed]
    graph = fx.Graph()
    paths = [node for node in nodes if node.op == "get_attr"]
    copies = {node: graph.placeholder(f"tensor_{number}") for number, node in enumerate(paths)}
    for node in nodes:
        if node not in copies:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(tuple(copies[node] for node in results))
    targets = tuple(str(node.target) for node in paths)
    return Folding(targets, ForwardCode.of(graph), len(results))


def _constants(graph: fx.Graph) -> list[fx.Node]:
    constant: dict[fx.Node, None] = {}
    for node in graph.nodes:
        # Only operations known to depend on their inputs alone.
        is_known = node.op == "get_attr" or node.target in _FOLDS or node.target in PURE
        if is_known and constant.keys() >= set(node.all_input_nodes):
            constant[node] = None
    return list(constant)


def _merged(constants: list[fx.Node]) -> set[fx.Node]:
    """One in place of all that are computed alike: a convolution may be called several times."""
    first: dict[Any, fx.Node] = {}
    for node in constants:
        key = node.op, node.target, str(node.args), str(node.kwargs)
        same = first.setdefault(key, node)
        if same is not node:  # PyTorch 2.9 refuses to put a node in place of itself
            node.replace_all_uses_with(same)
    return set(first.values())


def _erase_unused(graph: fx.Graph) -> None:
    for node in reversed(graph.nodes):
        if not node.users and (node.op == "get_attr" or node.target in {*_FOLDS, *PURE}):
            graph.erase_node(node)
