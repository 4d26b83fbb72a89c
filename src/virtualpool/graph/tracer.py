"""One module to one graph: a `torch.fx` tracer that goes through code with convolutions in it."""

import operator
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import is_dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.fx.proxy import TraceError

from virtualpool.graph import random_numbers
from virtualpool.graph.answers import Answers, NoAnswerError, written
from virtualpool.graph.arguments import (
    check_answer,
    check_tensor,
)
from virtualpool.graph.inputs import Call
from virtualpool.graph.keywords import tensors_in_their_places
from virtualpool.graph.numbers import numbers_followed
from virtualpool.graph.operations import is_hooked
from virtualpool.graph.parameters import (
    absent_arguments,
    example_leaves,
    fixed_arguments,
)
from virtualpool.graph.proxies import Known, Parts, count_of_parts, results_on
from virtualpool.graph.signature import order_parameters, restore_output, restore_parameters
from virtualpool.graph.state import state_kept
from virtualpool.graph.sums import is_sum_module
from virtualpool.plan import join
from virtualpool.torch_private import CONVOLUTION


def convolutions(module: nn.Module) -> list[str]:
    """The qualified names of the convolutions in a module, itself included as the empty name.

    >>> convolutions(nn.Sequential(nn.ReLU(), nn.Sequential(nn.Conv2d(3, 8, 1))))
    ['1.0']
    """
    return [name for name, child in module.named_modules() if isinstance(child, CONVOLUTION)]


class Tracer(fx.Tracer):
    """Takes every module without a convolution in it, and every opaque one, as one operation.

    So the code of such a module (dropout, attention, a classifier) keeps its behaviour in training
    and may do things that cannot be traced. A plain sequence of such modules is none itself,
    nor is a module that does nothing but add.

    Args:
        module: the module to trace.
        opaque: the qualified names of submodules that stay whole.
        is_closed: whether `*args` and `**kwargs` that the example leaves empty stay so.
        follows_numbers: whether `int` and `float` of a size go into the graph.

    Attributes:
        opaque: the qualified names of submodules that stay whole.
        failed: the qualified name of the innermost submodule that could not be traced.
    """

    # Else a computation from a buffer, or a write to it, would happen once: while tracing.
    proxy_buffer_attributes = True

    def __init__(
        self,
        module: nn.Module,
        opaque: frozenset[str],
        *,
        is_closed: bool = False,
        follows_numbers: bool = False,
    ) -> None:
        super().__init__(param_shapes_constant=True)
        self.failed: str | None = None
        self.opaque = opaque
        self._is_closed = is_closed
        self._numbers = numbers_followed if follows_numbers else nullcontext
        self._absent: dict[str, Any] = {}
        through = _ancestors_of_convolutions(module) | _sequences(module) | _sums(module)
        self._through = through - opaque

    def graph_of(self, module: nn.Module, call: Call) -> fx.Graph:
        """The graph of a module, with the parameters that its `forward` has.

        Args:
            module: the module to trace, in the mode (eval or training) that its flags say.
            call: arguments that the module takes; all but the tensors in them are held fixed.
        """
        fixed = fixed_arguments(module, call)
        self._absent = absent_arguments(module, call) if self._is_closed else {}
        self._answers = Answers(module, example_leaves(module, call, fixed))
        self._checked: set[fx.Node] = set()
        with warnings.catch_warnings():
            # fx says which fixed arguments it does not check; all of them are checked here.
            warnings.filterwarnings("ignore", "Was not able to add assertion")
            with (
                state_kept(module), _switches_on(), _no_random_numbers(), self._numbers(module)
            ):  # fmt: skip
                self.trace(module, fixed)
                self._check_nothing_is_left(module)
                restore_parameters(
                    self.graph, module, fixed, self._absent, is_closed=self._is_closed
                )
                order_parameters(self.graph, module)
                restore_output(self)
        tensors_in_their_places(self.graph, module)
        return self.graph

    def create_args_for_root(
        self, root_fn: Any, is_module: bool, concrete_args: Any = None
    ) -> tuple[Any, list[Any]]:
        """See `torch.fx.Tracer`, whose stand-ins for `*args` and `**kwargs` cannot be handed on."""
        function, arguments = super().create_args_for_root(root_fn, is_module, concrete_args)
        return function, [
            self._absent.get(str(each.node.target), each) if isinstance(each, fx.Proxy) else each
            for each in arguments
        ]

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """See `torch.fx.Tracer`, which knows of no value how many parts it has."""
        count = count_of_parts(node)
        return Known(node, self) if count is None else Parts(node, self, count)

    def to_bool(self, obj: fx.Proxy) -> bool:
        """See `torch.fx.Tracer`, which knows no answer; its check goes into the graph."""
        try:
            answer = bool(self._answers.number(obj.node))
        except NoAnswerError:
            return super().to_bool(obj)
        self.create_node("call_function", check_answer, (written(obj.node), obj.node, answer), {})
        return answer

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        """See `torch.fx.Tracer`, which knows of no value how many items it has."""
        length = self.length_of(obj)
        if length is None:
            return super().iter(obj)
        return (operator.getitem(obj, place) for place in range(length))  # pyright: ignore

    def length_of(self, proxy: fx.Proxy) -> int | None:
        """The number of axes, of a shape; None of any other value."""
        try:
            shape = self._answers.number(proxy.node)
        except NoAnswerError:
            return None
        if not isinstance(shape, torch.Size):
            return None
        length = self.create_node("call_function", len, (proxy.node,), {})
        same = self.create_node("call_function", operator.eq, (length, len(shape)), {})
        self.create_node("call_function", check_answer, (written(same), same, True), {})
        return len(shape)

    def kind_of(self, proxy: fx.Proxy) -> type:
        """The class of the value that a proxy stands for; its own where that is not known."""
        if self._answers.is_busy:
            return type(proxy)
        try:
            kind = type(self._answers.of(proxy.node))
        except NoAnswerError:
            return type(proxy)
        node = proxy.node
        if node.op == "placeholder" and kind is torch.Tensor and node not in self._checked:
            self._checked.add(node)
            self.create_node("call_function", check_tensor, (str(node.target), node), {})
        return kind

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """See `torch.fx.Tracer`."""
        if self._answers.is_busy:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """See `torch.fx.Tracer`."""
        return module_qualified_name not in self._through

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """See `torch.fx.Tracer`."""
        if self._answers.is_busy:
            return forward(*args, **kwargs)
        name = self.path_of_module(m)
        has_structure = any(isinstance(value, list | dict) for value in [*args, *kwargs.values()])
        try:
            with _no_random_numbers():
                if has_structure and name not in self.opaque:
                    # A module that takes a structure may return one, and later code takes it apart.
                    return forward(*args, **kwargs)
                return super().call_module(m, forward, args, kwargs)
        except Exception:
            # The innermost comes first: only that module has to stay whole. Where one operation
            # cannot be recorded, the fault lies with the code that calls it.
            if self.failed is None and name in self._through:
                self.failed = name
            raise

    def create_proxy(
        self,
        kind: str,
        target: Any,
        args: Any,
        kwargs: Any,
        name: Any = None,
        type_expr: Any = None,
        # fx hands it over only where it finds a parameter of this name.
        proxy_factory_fn: Any = None,
    ) -> fx.Proxy:
        """See `torch.fx.Tracer`, whose stand-in for a parameter refuses the buffers it is for."""
        if kind == "get_attr" and target in dict(self.root.named_buffers()):
            proxy_factory_fn = None
        return super().create_proxy(kind, target, args, kwargs, name, type_expr, proxy_factory_fn)

    def create_node(
        self,
        kind: str,
        target: Any,
        args: Any,
        kwargs: Any,
        name: Any = None,
        type_expr: Any = None,
    ) -> fx.Node:
        """See `torch.fx.Tracer`."""
        if not all(_switches()):
            raise TraceError("it switches gradients or autocast off, which a graph cannot say")
        return super().create_node(kind, target, args, kwargs, name, type_expr)

    def create_arg(self, a: Any) -> Any:
        """See `torch.fx.Tracer`, which would make a plain dict of one with a class of its own."""
        if isinstance(a, dict) and type(a) is not dict:
            return self._dict_of_its_class(a)
        return super().create_arg(a)

    def _check_nothing_is_left(self, module: nn.Module) -> None:
        """Refuses code that leaves a result on a module: a graph's code would not."""
        for name, child in module.named_modules():
            for attribute in results_on(child):
                around = [".".join(name.split(".")[:depth]) for depth in range(name.count(".") + 2)]
                self.failed = max(self._through.intersection(around), key=len, default="")
                owner = self.failed and self.failed + "."
                raise LeftBehindError(join(name, attribute).removeprefix(owner))

    def _dict_of_its_class(self, value: dict[Any, Any]) -> fx.Node:
        kind = type(value)
        items = self.create_arg([list(item) for item in value.items()])
        if not is_dataclass(kind):
            return self.create_node("call_function", kind, (items,), {})
        # The outputs of transformers and diffusers, which take their items by keyword.
        return self.create_node("call_function", kind, (), dict(items))


class LeftBehindError(Exception):
    """Code leaves a result on a module, in the attribute of that name."""


_AUTOCAST_DEVICES = ("cpu", "cuda")


def _switches() -> tuple[bool, ...]:
    autocast = [torch.is_autocast_enabled(device) for device in _AUTOCAST_DEVICES]
    return torch.is_grad_enabled(), *autocast


@contextmanager
def _switches_on() -> Iterator[None]:
    """Gradients and autocast on, so that code which switches them off is noticed."""
    before = _switches()[1:]
    with torch.enable_grad():
        try:
            for device in _AUTOCAST_DEVICES:
                torch.set_autocast_enabled(device, True)
            yield
        finally:
            for device, enabled in zip(_AUTOCAST_DEVICES, before, strict=True):
                torch.set_autocast_enabled(device, enabled)


@contextmanager
def _no_random_numbers() -> Iterator[None]:
    """Refuses code that decides by chance, once and for all, while it is traced."""
    before = random_numbers.states()
    yield
    if random_numbers.are_drawn_since(before):
        raise TraceError("its code draws random numbers, which a graph would fix")


def _ancestors_of_convolutions(module: nn.Module) -> set[str]:
    paths = [name.split(".") for name in convolutions(module)]
    return {".".join(path[:depth]) for path in paths for depth in range(1, len(path))}


def _sums(module: nn.Module) -> set[str]:
    return {name for name, child in module.named_modules() if is_sum_module(child)}


def _sequences(module: nn.Module) -> set[str]:
    """The plain sequences in a module without linear layers: linear ones work on no map."""
    return {
        name
        for name, child in module.named_modules()
        if type(child) is nn.Sequential
        and not is_hooked(child)
        and not any(isinstance(each, nn.Linear) for each in child.children())
    }
