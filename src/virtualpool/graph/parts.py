"""A model as parts that can be rewritten: the graphs of its largest traceable submodules."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, is_dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn

from virtualpool.graph import random_numbers
from virtualpool.graph.forward import ForwardCode
from virtualpool.graph.image_scale import seen_by, taking_resized
from virtualpool.graph.inputs import Call, as_call, map_tensors
from virtualpool.graph.numbers import NumberError
from virtualpool.graph.operations import is_hooked
from virtualpool.graph.parameters import takes_any_number
from virtualpool.graph.running import calls, evaluating, run, set_training
from virtualpool.graph.state import state_kept
from virtualpool.graph.tracer import (
    LeftBehindError,
    Tracer,
    convolutions,
)
from virtualpool.plan import join
from virtualpool.torch_private import CONVOLUTION
from virtualpool.words import first_line


@dataclass(frozen=True)
class Part:
    """A submodule that was traced.

    Attributes:
        name: its fully-qualified name in the model; empty for the whole model.
        module: holds the graphs' submodules and attributes.
        evaluation: its graph in eval mode.
        training: its graph in training mode.
        opaque: the submodules that its graphs call as one operation though convolutions are inside.
    """

    name: str
    module: nn.Module
    evaluation: fx.Graph
    training: fx.Graph
    opaque: frozenset[str]

    def full_name(self, target: object) -> str:
        """The name in the model of a graph's `target`."""
        return join(self.name, str(target))

    def own_name(self, name: str) -> str:
        """The name in its graphs of the module with that name in the model."""
        return name.removeprefix(self.name).removeprefix(".")

    def contains(self, name: str) -> bool:
        """Whether a module of the model is in the part, or is it."""
        return self.full_name(self.own_name(name)) == name

    def calls(self, graph: fx.Graph, name: str) -> list[fx.Node]:
        """Where one of its graphs calls the module of that name in the model."""
        target = self.own_name(name)
        if not self.contains(name):
            return []
        return list(graph.find_nodes(op="call_module", target=target))


@dataclass
class Traced:
    """A model as parts; and of each submodule with convolutions that is in none of them, why."""

    parts: list[Part] = field(default_factory=list)
    untraced: dict[str, str] = field(default_factory=dict)


def trace(model: nn.Module, example_inputs: Any) -> Traced:
    """Traces the largest submodules of `model` that can be traced.

    A part is used only if its graph, run in eval mode on the submodule's inputs, gives
    the submodule's outputs. Tensors that the code makes on the way become attributes of the parts'
    modules: give a copy of a model that must not change. A model's own resizing of its images is
    in no part.

    Raises:
        VirtualPoolError: the model does not run on the example inputs.
    """
    seen = seen_by(model, example_inputs)
    walk = _Walk(model, seen)
    with evaluating(model), taking_resized(model):
        walk.into("", as_call(seen))
    return walk.traced


class _Walk:
    """Goes down a model until its submodules can be traced."""

    def __init__(self, model: nn.Module, example_inputs: Any) -> None:
        self.traced = Traced()
        self._model = model
        self._example_inputs = example_inputs

    @cached_property
    def calls(self) -> dict[str, Call]:
        """The first inputs of each submodule with convolutions; needed where the whole fails."""
        return calls(self._model, self._example_inputs, torch.clone)

    def into(self, name: str, call: Call | None) -> None:
        module = self._model.get_submodule(name)
        if not convolutions(module):
            return
        if isinstance(module, CONVOLUTION):
            # The operations after a convolution are outside of it: its own graph is of no use.
            if not name:
                self.traced.untraced[name] = "is a convolution by itself"
            return
        if call is None:
            # Never called, as any list of modules. The module around it runs its convolutions, if
            # anything does, so the reason of that holds for them.
            self._into_children(name)
            return
        part, left_whole = trace_part(name, module, call)
        if part is not None:
            self.traced.parts.append(part)
        for opaque, reason in left_whole.items():
            path = join(name, opaque)
            if reason is None:
                self.into(path, self.calls.get(path))
                continue
            self.traced.untraced[path] = reason
            self._into_children(path)

    def _into_children(self, name: str) -> None:
        for child, _ in self._model.get_submodule(name).named_children():
            inner = join(name, child)
            self.into(inner, self.calls.get(inner))


class UntraceableError(Exception):
    """A module cannot be traced; `culprit` is the innermost submodule that has to stay whole."""

    def __init__(self, culprit: str, error: Exception) -> None:
        super().__init__(
            f"leaves {error} on itself, which a pooled model would not"
            if isinstance(error, LeftBehindError)
            else f"cannot be traced ({type(error).__name__}: {first_line(error)})"
        )
        self.culprit = culprit


def part_of(name: str, module: nn.Module, call: Call, opaque: frozenset[str]) -> Part:
    """The part of one module, which is in eval mode.

    Raises:
        UntraceableError: it cannot be traced as long as its submodules `opaque` stay whole.
    """
    try:
        return _part_of(name, module, call, Tracer(module, opaque))
    except UntraceableError as error:
        if isinstance(error.__cause__, NumberError):
            return _part_of(name, module, call, Tracer(module, opaque, follows_numbers=True))
        if error.culprit or not takes_any_number(module):
            raise
        return _part_of(name, module, call, Tracer(module, opaque, is_closed=True))


def _part_of(name: str, module: nn.Module, call: Call, tracer: Tracer) -> Part:
    try:
        evaluation = _graph_in_mode(tracer, module, call, training=False)
        training = _graph_in_mode(tracer, module, call, training=True)
    except Exception as error:
        raise UntraceableError(tracer.failed or "", error) from error
    return Part(name, module, evaluation, training, tracer.opaque)


def trace_part(
    name: str, module: nn.Module, call: Call
) -> tuple[Part | None, dict[str, str | None]]:
    """A module's part, and its submodules that stay whole; "" is the module.

    Of each there is the reason, or None where it can be a part by itself.
    """
    if "forward" in vars(module):
        return None, {"": "has a forward of its own, apart from its class"}
    left_whole: dict[str, str | None] = dict.fromkeys(_hooked(module))
    while True:
        try:
            part = part_of(name, module, call, frozenset(left_whole))
        except UntraceableError as error:
            if not error.culprit:
                return None, {"": str(error)}
            left_whole[error.culprit] = str(error)
            continue
        if not _computes_the_same(module, part.evaluation, call):
            return None, {"": "gives other values than its trace"}
        return part, {path: why for path, why in left_whole.items() if _is_outer(path, left_whole)}


def _hooked(module: nn.Module) -> list[str]:
    """The submodules with hooks: these are for calls of them, which a graph would not make."""
    return [
        name
        for name, child in module.named_modules()
        if name and not isinstance(child, CONVOLUTION) and is_hooked(child) and convolutions(child)
    ]


def _is_outer(path: str, paths: Iterable[str]) -> bool:
    return not any(path.startswith(other + ".") for other in paths)


def _graph_in_mode(tracer: Tracer, module: nn.Module, call: Call, *, training: bool) -> fx.Graph:
    set_training(module, training)
    try:
        return tracer.graph_of(module, call)
    finally:
        set_training(module, False)


def _computes_the_same(module: nn.Module, graph: fx.Graph, call: Call) -> bool:
    """Whether a graph gives its module's outputs, now and at the next call, of other images.

    It does not where the code goes on from an earlier call's values.
    """
    following = (call, map_tensors(_mirrored, call))
    with state_kept(module):
        expected = [run(module, each) for each in following]
    function = ForwardCode.of(graph).function
    try:
        with state_kept(module):
            actual = [_run_code(function, module, each) for each in following]
    except Exception:
        return False
    return _alike(expected, actual)


def _run_code(function: Callable[..., Any], module: nn.Module, call: Call) -> Any:
    positional, keywords = map_tensors(torch.clone, call)
    random_numbers.seed(0)
    return function(module, *positional, **keywords)


def _mirrored(tensor: Tensor) -> Tensor:
    is_image = tensor.is_floating_point() and tensor.ndim >= 3
    return tensor.flip(-1) if is_image else tensor


def _alike(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        return one.shape == other.shape and torch.allclose(
            one, other, rtol=1e-4, atol=1e-5, equal_nan=True
        )
    if isinstance(one, dict):
        return list(one) == list(other) and all(map(_alike, one.values(), other.values()))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_alike, one, other))
    return not is_dataclass(one) or _alike(vars(one), vars(other))
