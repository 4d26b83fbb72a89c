"""The questions that traced code asks about its values, answered from the example inputs.

`if x.shape[1] != 3` has one answer for all inputs that a model is for. It is found on the meta
device, which knows shapes and dtypes and no values: values themselves have no answer.
"""

import operator
from collections.abc import Iterable
from functools import reduce
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.fx.node import map_arg

from virtualpool.graph import random_numbers
from virtualpool.graph.inputs import map_tensors
from virtualpool.graph.numbers import float_of, int_of
from virtualpool.graph.operations import has_hooks_inside


class NoAnswerError(Exception):
    """The answer depends on more than shapes and dtypes."""


class Answers:
    """The values of a graph's nodes on the example inputs, with tensors on the meta device.

    Args:
        module: the module in the trace, in the mode (eval or training) that its flags say.
        example: stand-ins for the graph's placeholders, in their order.

    Attributes:
        is_busy: whether modules are called to find an answer, and not to be recorded.
    """

    def __init__(self, module: nn.Module, example: Iterable[Any]) -> None:
        self._module = module
        self._example = [map_tensors(_on_meta, each) for each in example]
        self.is_busy = False
        self._values: dict[fx.Node, Any] = {}

    def of(self, node: fx.Node) -> Any:
        """The value of a node.

        Raises:
            NoAnswerError: that depends on values.
        """
        needed = self._needed(node)
        placeholders = node.graph.find_nodes(op="placeholder")
        given = dict(zip(placeholders, self._example, strict=False))
        self.is_busy = True
        try:
            with random_numbers.kept(), torch.set_grad_enabled(self._module.training):
                for each in node.graph.nodes:
                    if each in needed:
                        self._values[each] = given[each] if each in given else self._run(each)
        except Exception as error:
            raise NoAnswerError(str(error)) from error
        finally:
            self.is_busy = False
        return self._values[node]

    def number(self, node: fx.Node) -> Any:
        """The value of a node, if it is no tensor and no question of the device.

        Raises:
            NoAnswerError: it is.
        """
        value = self.of(node)
        if isinstance(value, Tensor) or any(map(_asks_for_device, self._steps_to(node))):
            raise NoAnswerError("depends on values")
        return value

    def _needed(self, node: fx.Node) -> set[fx.Node]:
        needed, pending = set(), [node]
        while pending:
            each = pending.pop()
            if each not in needed and each not in self._values:
                needed.add(each)
                pending += each.all_input_nodes
        return needed

    def _steps_to(self, node: fx.Node) -> Iterable[fx.Node]:
        pending = [node]
        while pending:
            each = pending.pop()
            yield each
            pending += [it for it in each.all_input_nodes if not _is_tensor(self._values[it])]

    def _run(self, node: fx.Node) -> Any:
        arguments, keywords = map_arg((node.args, node.kwargs), self._values.__getitem__)
        if node.op == "call_function":
            return node.target(*arguments, **keywords)  # pyright: ignore[reportCallIssue]
        if node.op == "call_method":
            return getattr(arguments[0], str(node.target))(*arguments[1:], **keywords)
        found = reduce(getattr, str(node.target).split("."), self._module)
        if not isinstance(found, nn.Module):
            return map_tensors(_on_meta, found)
        if has_hooks_inside(found):
            raise NoAnswerError("a hook would be called")
        held = [*found.named_parameters(), *found.named_buffers()]
        weights = {name: _on_meta(weight) for name, weight in held}
        return functional_call(found, weights, arguments, keywords)


def _on_meta(tensor: Tensor) -> Tensor:
    return tensor.detach().to("meta").requires_grad_(tensor.requires_grad)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _asks_for_device(node: fx.Node) -> bool:
    if node.target is getattr:
        return str(node.args[1]).startswith(("device", "is_"))
    return str(node.target) == "get_device"


_SIGNS = {
    operator.eq: "==", operator.ne: "!=", operator.lt: "<", operator.le: "<=", operator.gt: ">",
    operator.ge: ">=", operator.add: "+", operator.sub: "-", operator.mul: "*", operator.mod: "%",
    operator.floordiv: "//", operator.truediv: "/",
}  # fmt: skip


_CALLS: dict[Any, str] = {len: "len", int_of: "int", float_of: "float"}


def written(value: Any) -> str:
    """A node's computation, as code would have it, for a message.

    >>> graph = fx.symbolic_trace(lambda x: x.shape[1] % 2 == x.dim()).graph
    >>> written(next(iter(reversed(graph.nodes))).args[0])
    'x.shape[1] % 2 == x.dim()'
    """
    if not isinstance(value, fx.Node):
        return repr(value)
    if value.target is getattr:
        return f"{written(value.args[0])}.{value.args[1]}"
    if value.target is operator.getitem:
        return f"{written(value.args[0])}[{written(value.args[1])}]"
    if value.target in _SIGNS:
        return f" {_SIGNS[value.target]} ".join(map(written, value.args))
    if value.target in _CALLS:
        return f"{_CALLS[value.target]}({written(value.args[0])})"
    if value.op == "call_method":
        # By its name alone: to write all that a map was computed from has no end.
        computed, *others = value.args
        return f"{computed}.{value.target}({', '.join(map(written, others))})"
    return value.name
