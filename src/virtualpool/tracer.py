"""One module to one graph: a `torch.fx` tracer that goes through code with convolutions in it."""

import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn
from torch.fx._symbolic_trace import PH
from torch.fx.graph import CodeGen, _PyTreeCodeGen
from torch.utils import _pytree as pytree

from virtualpool.forward import CONSTANT
from virtualpool.inputs import Call

CONVOLUTION = nn.modules.conv._ConvNd


def convolutions(module: nn.Module) -> list[str]:
    """The qualified names of the convolutions in a module, itself included as the empty name.

    >>> convolutions(nn.Sequential(nn.ReLU(), nn.Sequential(nn.Conv2d(3, 8, 1))))
    ['1.0']
    """
    return [name for name, child in module.named_modules() if isinstance(child, CONVOLUTION)]


class Tracer(fx.Tracer):
    """Takes every module without a convolution in it, and every opaque one, as one operation.

    So the code of such a module (dropout, attention, a classifier) keeps its behaviour in training
    and may do what cannot be traced.

    Attributes:
        failed: the qualified name of the innermost submodule that could not be traced.
    """

    def __init__(self, module: nn.Module, opaque: frozenset[str]) -> None:
        super().__init__(param_shapes_constant=True)
        self.failed: str | None = None
        self._through = _ancestors_of_convolutions(module) - opaque

    def graph_of(self, module: nn.Module, call: Call) -> fx.Graph:
        """The graph of a module, with the parameters that its `forward` has.

        Args:
            module: what to trace, in the mode (eval or training) that its flags say.
            call: arguments that the module takes; what is not a tensor in them is held fixed.
        """
        fixed = _fixed_arguments(module, call)
        with warnings.catch_warnings():
            # fx cannot check every fixed argument at run time, and says so each time.
            warnings.filterwarnings("ignore", "Was not able to add assertion")
            with _state_kept(module):
                graph = self.trace(module, fixed)
        _restore_parameters(graph, module, fixed)
        return graph

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """See `torch.fx.Tracer`."""
        return module_qualified_name not in self._through

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """See `torch.fx.Tracer`."""
        try:
            if any(isinstance(value, list | dict) for value in [*args, *kwargs.values()]):
                # What takes a structure may return one, which the code that follows takes apart.
                return forward(*args, **kwargs)
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            # The innermost comes first: only that module has to stay whole. Where one operation
            # cannot be recorded, the fault lies with the code that calls it.
            name = self.path_of_module(m)
            if self.failed is None and name in self._through:
                self.failed = name
            raise


@contextmanager
def _state_kept(module: nn.Module) -> Iterator[None]:
    """Puts back what traced code leaves in modules (a cache, say), but not new constants."""
    before = {submodule: dict(vars(submodule)) for submodule in module.modules()}
    try:
        yield
    finally:
        for submodule, attributes in before.items():
            now = vars(submodule)
            constants = {name: now[name] for name in now if name.startswith(CONSTANT)}
            now.clear()
            now.update(attributes | constants)


def _ancestors_of_convolutions(module: nn.Module) -> set[str]:
    paths = [name.split(".") for name in convolutions(module)]
    return {".".join(path[:depth]) for path in paths for depth in range(1, len(path))}


def _fixed_arguments(module: nn.Module, call: Call) -> dict[str, Any]:
    """What a trace must know of the arguments: all that is not simply a given tensor.

    Without it `if targets is not None` would be taken for true.
    """
    bound = inspect.signature(module.forward).bind(*call[0], **call[1])
    given = {name for name, value in bound.arguments.items() if isinstance(value, torch.Tensor)}
    bound.apply_defaults()
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = bound.signature.parameters
    return {
        name: pytree.tree_map_only(torch.Tensor, lambda _: PH, value)
        for name, value in bound.arguments.items()
        if name not in given and parameters[name].kind not in variadic
    }


def _restore_parameters(graph: fx.Graph, module: nn.Module, fixed: dict[str, Any]) -> None:
    """Gives a graph the parameters of `forward`, where fx has one per leaf of a fixed argument."""
    placeholders = iter(list(graph.find_nodes(op="placeholder")))
    for name in inspect.signature(module.forward).parameters:
        if name not in fixed:
            next(placeholders, None)
            continue
        leaves, structure = pytree.tree_flatten_with_path(fixed[name])
        nodes = [next(placeholders) for _ in leaves]
        if structure.is_leaf():
            nodes[0].target = name
        else:
            _gather(graph, name, nodes, [path for path, _ in leaves])
    if isinstance(graph._codegen, _PyTreeCodeGen):
        (output,) = graph.find_nodes(op="output")
        structure = graph._codegen.pytree_info.out_spec
        assert structure is not None  # known once the graph is traced
        output.args = (pytree.tree_unflatten(list(output.args[0]), structure),)
        graph.set_codegen(CodeGen())


def _gather(graph: fx.Graph, name: str, leaves: list[fx.Node], paths: list[pytree.KeyPath]) -> None:
    """One parameter in place of the leaves of its structure, which are taken from it by index."""
    if not leaves:
        return
    with graph.inserting_before(leaves[0]):
        parameter = graph.placeholder(name)
    # Parameters come first in a graph: the indexing follows the last of them.
    with graph.inserting_before(list(graph.find_nodes(op="placeholder"))[-1].next):
        for leaf, path in zip(leaves, paths, strict=True):
            value = fx.Proxy(parameter)
            for key in path:
                value = key.get(value)
            leaf.replace_all_uses_with(value.node)
    for leaf in leaves:
        graph.erase_node(leaf)
