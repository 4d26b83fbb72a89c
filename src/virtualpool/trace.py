"""A model as parts that can be rewritten: the graphs of its largest traceable submodules."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import fx, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.forward import ForwardCode
from virtualpool.inputs import Call, as_call, map_tensors, tensors
from virtualpool.tracer import CONVOLUTION, Tracer, convolutions


@dataclass(frozen=True)
class Part:
    """A submodule that was traced.

    Attributes:
        name: its fully-qualified name in the model; empty for the whole model.
        module: what the graphs' submodules and attributes are found on.
        evaluation: its graph in eval mode.
        training: its graph in training mode.
    """

    name: str
    module: nn.Module
    evaluation: fx.Graph
    training: fx.Graph

    def full_name(self, target: object) -> str:
        """The name in the model of what a graph calls `target`."""
        return join(self.name, str(target))


@dataclass
class Traced:
    """A model as parts; and of each submodule with convolutions that is in none of them, why."""

    parts: list[Part] = field(default_factory=list)
    untraced: dict[str, str] = field(default_factory=dict)


def join(prefix: str, name: str) -> str:
    """A qualified name of two.

    >>> join("backbone", "conv1"), join("", "conv1"), join("backbone", "")
    ('backbone.conv1', 'conv1', 'backbone')
    """
    return f"{prefix}.{name}" if prefix and name else prefix or name


def trace(model: nn.Module, example_inputs: Any) -> Traced:
    """Traces the largest submodules of `model` that can be traced.

    A part is used only if its graph, run in eval mode on what the submodule receives, gives what
    the submodule gives. Tensors that the code makes on the way become attributes of the parts'
    modules: give a copy of a model that must not change.

    Raises:
        VirtualPoolError: the model does not run on the example inputs.
    """
    walk = _Walk(model, example_inputs)
    with evaluating(model):
        walk.into("", as_call(example_inputs))
    return walk.traced


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradients and with random numbers of its own; flags are restored.

    >>> model = nn.Dropout()
    >>> with evaluating(model):
    ...     model.training
    False
    >>> model.training
    True
    """
    flags = {module: module.training for module in model.modules()}
    every_gpu = range(torch.cuda.device_count())
    with torch.random.fork_rng(every_gpu), torch.no_grad():
        _set_training(model, False)
        try:
            yield
        finally:
            for module, flag in flags.items():
                module.training = flag


def run(model: nn.Module, call: Call) -> Any:
    """Calls a model on copies of its inputs, always with the same random numbers.

    Raises:
        VirtualPoolError: the model fails; the message has the shapes of its inputs.
    """
    positional, keywords = map_tensors(torch.clone, call)
    torch.manual_seed(0)
    try:
        return model(*positional, **keywords)
    except Exception as error:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors(call)) or "none"
        raise VirtualPoolError(
            f"{type(model).__name__} does not run on the example inputs (tensors of shape "
            f"{shapes}): {type(error).__name__}: {error}. Give inputs that its forward takes."
        ) from error


class _Walk:
    """Goes down a model until its submodules can be traced."""

    def __init__(self, model: nn.Module, example_inputs: Any) -> None:
        self.traced = Traced()
        self._model = model
        self._example_inputs = example_inputs

    @cached_property
    def calls(self) -> dict[str, Call]:
        """What each submodule with convolutions receives first; needed where the whole fails."""
        return _calls(self._model, self._example_inputs)

    def into(self, name: str, call: Call | None) -> None:
        module = self._model.get_submodule(name)
        if not convolutions(module):
            return
        if isinstance(module, CONVOLUTION):
            # What comes after a convolution is outside of it: its own graph is of no use.
            self.traced.untraced[name] = "is called by code that cannot be traced"
            return
        part, left_whole = None, {"": "is never called in eval mode"}
        if call is not None:
            part, left_whole = _trace_part(name, module, call)
        if part is not None:
            self.traced.parts.append(part)
        for opaque, reason in left_whole.items():
            self.traced.untraced[join(name, opaque)] = reason
            for child, _ in module.get_submodule(opaque).named_children():
                path = join(join(name, opaque), child)
                self.into(path, self.calls.get(path))


def _calls(model: nn.Module, example_inputs: Any) -> dict[str, Call]:
    calls: dict[str, Call] = {}

    def recorder(name: str) -> Any:
        def record(_: nn.Module, arguments: Any, keywords: Any) -> None:
            if name not in calls:
                calls[name] = map_tensors(torch.clone, (arguments, keywords))

        return record

    handles = [
        module.register_forward_pre_hook(recorder(name), with_kwargs=True)
        for name, module in model.named_modules()
        if convolutions(module) and not isinstance(module, CONVOLUTION)
    ]
    try:
        run(model, as_call(example_inputs))
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _trace_part(name: str, module: nn.Module, call: Call) -> tuple[Part | None, dict[str, str]]:
    """A module's part, and its submodules that stay whole with the reason; "" is the module."""
    left_whole: dict[str, str] = {}
    while True:
        tracer = Tracer(module, frozenset(left_whole))
        try:
            evaluation = _graph_in_mode(tracer, module, call, training=False)
            training = _graph_in_mode(tracer, module, call, training=True)
        except Exception as error:
            reason = f"cannot be traced ({type(error).__name__}: {_first_line(error)})"
            if not tracer.failed:
                return None, {"": reason}
            left_whole[tracer.failed] = reason
            continue
        if not _computes_the_same(module, evaluation, call):
            return None, {"": "its trace gives other values than it does"}
        return Part(name, module, evaluation, training), left_whole


def _graph_in_mode(tracer: Tracer, module: nn.Module, call: Call, *, training: bool) -> fx.Graph:
    _set_training(module, training)
    try:
        return tracer.graph_of(module, call)
    finally:
        _set_training(module, False)


def _set_training(module: nn.Module, training: bool) -> None:
    # Not module.train(): a model may override it, and only the flags matter here.
    for submodule in module.modules():
        submodule.training = training


def _computes_the_same(module: nn.Module, graph: fx.Graph, call: Call) -> bool:
    expected = tensors(run(module, call))
    positional, keywords = map_tensors(torch.clone, call)
    torch.manual_seed(0)
    actual = tensors(ForwardCode.of(graph).function(module, *positional, **keywords))
    return len(actual) == len(expected) and all(map(_is_close, actual, expected))


def _is_close(one: torch.Tensor, other: torch.Tensor) -> bool:
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        return False
    if not one.is_floating_point():
        return torch.equal(one, other)
    return torch.allclose(one, other, rtol=1e-4, atol=1e-5, equal_nan=True)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")
