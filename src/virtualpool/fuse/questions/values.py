"""Facts about a graph's values before it is rewritten."""

import inspect
from collections import defaultdict
from collections.abc import Callable
from functools import reduce
from typing import Any

from torch import Tensor, fx, nn

from virtualpool.graph.inputs import Call, map_tensors, tensors
from virtualpool.operator.pool import Axes
from virtualpool.torch_private import StorageWeakRef, memory_of, versions_of

Shape = tuple[int, ...]
CHANNELS_FIRST: Axes = (2, 3)
"""The axes of the rows and the columns of a map (N, C, H, W)."""


class UnfusableError(Exception):
    """Why a graph is left as it is."""


class Values:
    """The values of one graph, as they are when it runs on the example inputs.

    Attributes:
        module: holds the submodules and parameters that the graph names.
        training: whether the graph was traced in training mode.
        interpolated: the values that equal the virtual pool of their even positions.
        permuted: of maps whose axes are in another order than (N, C, H, W), the axes of
            the rows and of the columns.
    """

    def __init__(self, graph: fx.Graph, module: nn.Module, call: Call, *, training: bool) -> None:
        self.module = module
        self.training = training
        self.interpolated: set[fx.Node] = set()
        self.permuted: dict[fx.Node, Axes] = {}
        self._seen = _recorded(graph, module, call)
        self._found: dict[Any, Any] = {}

    def shape(self, value: Any) -> Shape | None:
        """The shape of a tensor; none for anything else."""
        if not isinstance(value, fx.Node):
            return None
        if value.op == "get_attr" and value not in self._seen.shapes:
            attribute = reduce(getattr, str(value.target).split("."), self.module)
            return tuple(attribute.shape) if isinstance(attribute, Tensor) else None
        found = self._seen.shapes.get(value)
        return found if isinstance(found, tuple) else None

    def axes(self, value: Any) -> Axes | None:
        """The axes of the rows and the columns of a map; none for anything else."""
        shape = self.shape(value)
        if shape is None or len(shape) != 4:
            return None
        return self.permuted.get(value, CHANNELS_FIRST)

    def grid(self, value: Any) -> Shape | None:
        """(H, W) of a map, whichever axes these are; none for anything else."""
        axes, shape = self.axes(value), self.shape(value)
        return None if axes is None or shape is None else (shape[axes[0]], shape[axes[1]])

    def size(self, value: Any) -> Shape | None:
        """(H, W) of a map (N, C, H, W); none for anything else, a permuted map too."""
        return self.grid(value) if self.axes(value) == CHANNELS_FIRST else None

    def parts(self, value: Any) -> list[Shape] | None:
        """The shapes of a tuple or list of tensors."""
        found = self._seen.shapes.get(value)
        return found if isinstance(found, list) else None

    def changed_by(self, node: fx.Node) -> list[fx.Node]:
        """The inputs of a node that it changes in place."""
        found = self._seen.changed.get(node, [])
        if found or not self.training:
            return found
        # The graph ran in eval mode, where dropout does nothing.
        told = getattr(self.submodule(node), "inplace", False) or node.kwargs.get("inplace")
        return node.all_input_nodes[:1] if told is True else []

    def returns(self, node: fx.Node, source: fx.Node) -> bool:
        """Whether the value of a node is its input itself, and no other that equals it."""
        return source in self._seen.returned.get(node, [])

    def sharing(self, value: fx.Node) -> list[fx.Node]:
        """The values in whose memory some of a value is, it among them."""
        memories = self._seen.memories.get(value, set())
        return [other for other, its in self._seen.memories.items() if its & memories]

    def adopt(self, node: fx.Node, like: fx.Node) -> None:
        """Makes known a node that was added, whose value has the shape of another."""
        shape = self._seen.shapes.get(like, self.shape(like))
        if shape is not None:
            self._seen.shapes[node] = shape

    def learn(self, node: fx.Node, shape: Shape) -> None:
        """Makes known the shape of a node that was added."""
        self._seen.shapes[node] = shape

    def submodule(self, node: fx.Node) -> nn.Module | None:
        """The module that a node calls, if it calls one."""
        return self.module.get_submodule(str(node.target)) if node.op == "call_module" else None

    def once(self, key: Any, find: Callable[[], Any]) -> Any:
        """The result of `find`, remembered under its key."""
        if key not in self._found:
            self._found[key] = find()
        return self._found[key]


class _Recorder(fx.Interpreter):
    """Runs a graph and notes of its values their contents, their places, and who changes them."""

    def __init__(self, module: nn.Module, graph: fx.Graph) -> None:
        super().__init__(module, graph=graph)
        self.shapes: dict[fx.Node, Shape | list[Shape]] = {}
        self.changed: dict[fx.Node, list[fx.Node]] = defaultdict(list)
        self.returned: dict[fx.Node, list[fx.Node]] = defaultdict(list)
        # While a reference is kept, no other memory is taken for this one.
        self.memories: dict[fx.Node, set[StorageWeakRef]] = {}

    def run_node(self, n: fx.Node) -> Any:
        before = [_versions(self.env[source]) for source in n.all_input_nodes]
        result = super().run_node(n)
        for source, versions in zip(n.all_input_nodes, before, strict=True):
            if _versions(self.env[source]) != versions:
                self.changed[n].append(source)
            if self.env[source] is result:
                self.returned[n].append(source)
        if isinstance(result, Tensor):
            self.shapes[n] = tuple(result.shape)
        elif isinstance(result, tuple | list) and all(isinstance(x, Tensor) for x in result):
            self.shapes[n] = [tuple(each.shape) for each in result]
        self.memories[n] = set(map(memory_of, tensors(result)))
        return result


def _versions(value: Any) -> list[int]:
    return versions_of(tensors(value))


def _recorded(graph: fx.Graph, module: nn.Module, call: Call) -> _Recorder:
    arguments = map_tensors(lambda tensor: tensor.clone(), call)
    bound = inspect.signature(module.forward).bind(*arguments[0], **arguments[1])
    bound.apply_defaults()
    recorder = _Recorder(module, graph)
    given = {
        node: bound.arguments[str(node.target).lstrip("*")]
        for node in graph.find_nodes(op="placeholder")
    }
    starred = {node: value for node, value in given.items() if str(node.target).startswith("*")}
    if any(starred.values()):
        raise UnfusableError("it takes any number of arguments")
    recorder.run(*(given[node] for node in given if node not in starred), initial_env=starred)
    return recorder
