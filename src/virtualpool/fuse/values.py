"""What is known of the values of a graph before it is rewritten."""

import inspect
from typing import Any

from torch import Tensor, fx, nn

from virtualpool.fuse.in_place import UnfusableError
from virtualpool.inputs import Call, map_tensors

Shape = tuple[int, ...]


class Values:
    """The values of one graph.

    Attributes:
        module: holds the submodules and parameters that the graph names.
        training: whether the graph is that of training mode.
        interpolated: the values that equal the virtual pool of their even positions.
    """

    def __init__(self, graph: fx.Graph, module: nn.Module, call: Call, *, training: bool) -> None:
        self.module = module
        self.training = training
        self.interpolated: set[fx.Node] = set()
        self._shapes = _shapes(graph, module, call)

    def shape(self, value: Any) -> Shape | None:
        """The shape of a tensor on the example inputs; none for anything else."""
        found = self._shapes.get(value) if isinstance(value, fx.Node) else None
        return found if isinstance(found, tuple) else None

    def size(self, value: Any) -> Shape | None:
        """(H, W) of a map on the example inputs; none for anything else."""
        shape = self.shape(value)
        return shape[2:] if shape is not None and len(shape) == 4 else None

    def parts(self, value: Any) -> list[Shape] | None:
        """The shapes of a tuple or list of tensors."""
        found = self._shapes.get(value)
        return found if isinstance(found, list) else None

    def adopt(self, node: fx.Node, like: fx.Node) -> None:
        """Makes known a node that was added, whose value is that of another."""
        self._shapes[node] = self._shapes[like]

    def submodule(self, node: fx.Node) -> nn.Module | None:
        """The module that a node calls, if it calls one."""
        return self.module.get_submodule(str(node.target)) if node.op == "call_module" else None


class _Recorder(fx.Interpreter):
    def __init__(self, module: nn.Module, graph: fx.Graph) -> None:
        super().__init__(module, graph=graph)
        self.shapes: dict[fx.Node, Shape | list[Shape]] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.shapes[n] = tuple(result.shape)
        elif isinstance(result, tuple | list) and all(isinstance(x, Tensor) for x in result):
            self.shapes[n] = [tuple(each.shape) for each in result]
        return result


def _shapes(graph: fx.Graph, module: nn.Module, call: Call) -> dict[fx.Node, Any]:
    arguments = map_tensors(lambda tensor: tensor.clone(), call)
    bound = inspect.signature(module.forward).bind(*arguments[0], **arguments[1])
    bound.apply_defaults()
    recorder = _Recorder(module, graph)
    names = [str(node.target) for node in graph.find_nodes(op="placeholder")]
    if any(name.startswith("*") for name in names):
        raise UnfusableError("it takes any number of arguments")
    recorder.run(*(bound.arguments[name] for name in names))
    return recorder.shapes
