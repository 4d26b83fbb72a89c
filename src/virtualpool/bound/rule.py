"""Rules: an operation's error from the errors of its inputs, and the place of each rule."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from torch import fx, nn

from virtualpool.bound.errors import ErrorSize, Gain
from virtualpool.bound.lipschitz import activation_name, argument_names, constant
from virtualpool.graph.arguments import arguments_of
from virtualpool.graph.inputs import tensors
from virtualpool.graph.operations import is_frozen_batch_norm, is_hooked, registered_for
from virtualpool.operator.pool import output_size


class UnboundedError(Exception):
    """Why no bound on an operation's error is known."""


@dataclass(eq=False)
class Operation:
    """One node of a graph as it was when the network ran on an image.

    Attributes:
        node: the node.
        module: the module that it calls, if it calls one.
        owner: the module that the graph was traced from.
        values: the value of each node that it reads.
        result: its result.
        call: does the same with other values in place of some that it reads.
    """

    node: fx.Node
    module: nn.Module | None
    owner: nn.Module
    values: dict[fx.Node, Any]
    result: Any
    call: Callable[[Mapping[fx.Node, Any]], Any]

    @property
    def name(self) -> str:
        """The name of the module that it calls, or of the node."""
        return self.node.name if self.module is None else str(self.node.target)

    @cached_property
    def sources(self) -> list[fx.Node]:
        """The nodes that it reads; a node that it reads twice is in the list twice."""
        found: list[fx.Node] = []
        fx.map_arg((self.node.args, self.node.kwargs), found.append)
        return found

    def arguments(self, names: Sequence[str]) -> dict[str, Any]:
        """Its arguments by name, or its module's attributes in place of the ones after the first.

        Args:
            names: the arguments' names, in the order of the function.
        """
        return {
            name: self.values.get(value, value) if isinstance(value, fx.Node) else value
            for name, value in arguments_of(self.node, names, self.module).items()
        }

    @property
    def input(self) -> Any:
        """The value of the first node that it reads."""
        return self.values[self.sources[0]]

    @cached_property
    def gain(self) -> Gain:
        """The gain for the error of its first argument.

        Raises:
            UnboundedError: no gain is known.
        """
        if self.module is not None and is_hooked(self.module):
            raise UnboundedError("it has hooks")
        rule = _rule(self)
        if rule is not None:
            return rule(self)
        slope = _slope(self)
        if slope is None:
            raise UnboundedError("no rule is known for it")
        return Gain.lipschitz(slope)

    @property
    def has_weights(self) -> bool:
        """Whether it reads parameters, or statistics that were learned."""
        if self.module is not None:
            return any(True for _ in [*self.module.parameters(), *self.module.buffers()])
        return any(source.op == "get_attr" for source in self.sources)

    @property
    def joins(self) -> bool:
        """Whether its rule is one for the errors of all that it reads."""
        return self.module is None and self.node.target in _JOINS

    @property
    def gives_size(self) -> bool:
        """Whether its result depends on nothing but the sizes of its inputs."""
        target, arguments = self.node.target, self.node.args
        is_size = target in _SIZES or (target is getattr and arguments[1] in _SIZE_ATTRIBUTES)
        return is_size and not tensors(self.result)


Errors = Sequence[tuple[fx.Node, ErrorSize]]
"""The inputs of an operation that have an error, with it; one that is read twice is there twice."""

GainRule = Callable[[Operation], Gain]
JoinRule = Callable[[Operation, Errors], ErrorSize]
AnyRule = TypeVar("AnyRule", bound=Callable[..., Any])
_GAINS: dict[Any, GainRule] = {}
_JOINS: dict[Any, JoinRule] = {}
_SIZES = {"size", "dim", "numel", output_size}
_SIZE_ATTRIBUTES = {"shape", "ndim", "dtype", "device"}


def gain_of(*targets: Any) -> Callable[[GainRule], GainRule]:
    """Registers how much an operation can multiply the error of its first argument.

    Args:
        targets: functions, methods of tensors (by name) and classes of modules. A rule for a class
            serves those that derive from it, too, as long as they have the same `forward`.

    >>> import torch
    >>> from virtualpool.bound import Gain, gain_of
    >>> @gain_of(torch.special.erf)
    ... def erf(operation):
    ...     return Gain.lipschitz(1.1284)
    """
    return _registering(_GAINS, targets)


def join_of(*targets: Any) -> Callable[[JoinRule], JoinRule]:
    """Registers the error of a function or method, given the errors of all its inputs."""
    return _registering(_JOINS, targets)


def _registering(rules: dict[Any, AnyRule], targets: Sequence[Any]) -> Callable[[AnyRule], AnyRule]:
    def register(found: AnyRule) -> AnyRule:
        rules.update(dict.fromkeys(targets, found))
        return found

    return register


def passed_on(operation: Operation, errors: Errors) -> ErrorSize:
    """The error of an operation's result, given the errors of its inputs.

    Raises:
        UnboundedError: no bound is known.
    """
    if operation.joins:
        return _JOINS[operation.node.target](operation, errors)
    if len(errors) > 1:
        raise UnboundedError("it reads several values that have an error")
    [(source, error)] = errors
    if not operation.node.args or operation.node.args[0] is not source:
        raise UnboundedError("the error comes in by another argument than the first")
    return operation.gain.of(error)


def knows(module: nn.Module) -> bool:
    """Whether there is a rule for a module as one operation."""
    return _rule_of(module) is not None or bool(activation_name(module))


def _rule(operation: Operation) -> GainRule | None:
    if operation.module is not None:
        return _rule_of(operation.module)
    return _GAINS.get(operation.node.target)


def _rule_of(module: nn.Module) -> GainRule | None:
    if is_frozen_batch_norm(module):
        return _GAINS[nn.BatchNorm2d]
    return registered_for(module, _GAINS)


def _slope(operation: Operation) -> float | None:
    """The Lipschitz constant of an activation; None for other operations."""
    name = activation_name(operation.module or operation.node.target)
    return constant(name, operation.arguments(("input", *argument_names(name))))
