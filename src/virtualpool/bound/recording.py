"""A graph run on an image, with notes of each value."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from torch import Tensor, fx, nn

from virtualpool.bound.rule import Operation, knows
from virtualpool.errors import VirtualPoolError
from virtualpool.fuse.passes.in_place import without_changes_in_place
from virtualpool.fuse.questions.sizes import even_positions, size_of
from virtualpool.fuse.questions.values import UnfusableError, Values
from virtualpool.graph.inlining import inline
from virtualpool.graph.operations import is_hooked
from virtualpool.operator.pool import virtual_pool


def take_apart(graph: fx.Graph, module: nn.Module, but: Collection[fx.Node]) -> None:
    """Replaces modules without a rule, `Sequential` and the user's own, by their operations.

    Args:
        graph: its modules are the ones that a tracer for other purposes has left whole.
        module: the graph was traced from it.
        but: nodes that stay as they are.
    """
    tracer = fx.Tracer()
    for node in graph.find_nodes(op="call_module"):
        called = module.get_submodule(str(node.target))
        is_one = tracer.is_leaf_module(called, str(node.target)) or is_hooked(called)
        if node in but or is_one or knows(called):
            continue
        try:
            inner = fx.Tracer().trace(called)
        except Exception:
            continue  # it stays an operation without a rule
        if len(inner.find_nodes(op="placeholder")) == len(node.args) and not node.kwargs:
            inline(node, inner)


def make_pure(graph: fx.Graph, module: nn.Module, image: Tensor) -> None:
    """Rewrites a graph so that no operation changes another one's input.

    Raises:
        VirtualPoolError: that cannot be done.
    """
    try:
        without_changes_in_place(graph, Values(graph, module, ((image,), {}), training=False))
    except UnfusableError as error:
        raise VirtualPoolError(
            f"{type(module).__name__}: {error} while others read it, so an error "
            "cannot be followed; write that operation so that it gives a new tensor."
        ) from error


def record(graph: fx.Graph, module: nn.Module, image: Tensor) -> dict[fx.Node, Operation]:
    """Every operation of a graph as it runs on an image (1, C, H, W)."""
    recorder = _Recorder(module, graph)
    recorder.run(image)
    return recorder.operations


def pooled_values(
    graph: fx.Graph, module: nn.Module, image: Tensor, at: fx.Node, wanted: Iterable[fx.Node]
) -> dict[fx.Node, Any]:
    """The wanted values as they are when a virtual pool recovers the value of one node."""
    runner = _Pooling(module, graph, at, set(wanted))
    runner.run(image)
    return runner.kept


def recovered(x: Tensor) -> Tensor:
    """A map (N, C, H, W) with only its even positions computed and the others interpolated."""
    return virtual_pool(even_positions(x), size_of(x))


class _Recorder(fx.Interpreter):
    def __init__(self, module: nn.Module, graph: fx.Graph) -> None:
        super().__init__(module, garbage_collect_values=False, graph=graph)
        self.operations: dict[fx.Node, Operation] = {}

    def run_node(self, n: fx.Node) -> Any:
        values = {source: self.env[source] for source in n.all_input_nodes}
        result = super().run_node(n)

        def call(replaced: Mapping[fx.Node, Any]) -> Any:
            read = {**values, **replaced}
            args, kwargs = fx.map_arg((n.args, n.kwargs), read.__getitem__)
            return getattr(self, n.op)(n.target, args, kwargs)

        called = self.module.get_submodule(str(n.target)) if n.op == "call_module" else None
        self.operations[n] = Operation(n, called, self.module, values, result, call)
        return result


class _Pooling(fx.Interpreter):
    def __init__(
        self, module: nn.Module, graph: fx.Graph, at: fx.Node, wanted: set[fx.Node]
    ) -> None:
        super().__init__(module, graph=graph)
        self._at = at
        self._wanted = wanted
        self.kept: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n is self._at:
            result = recovered(result)
        if n in self._wanted:
            self.kept[n] = result
        return result
