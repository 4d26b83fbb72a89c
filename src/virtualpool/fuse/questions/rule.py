"""Rules: how one operation answers the two questions, and where a rule for it is found.

A value can be asked for in full, F(v), or at its even positions, E(v) = v[..., ::2, ::2]. A rule
says which of its inputs an operation asks for which, and builds the operation on the answers.
"""

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, Protocol

from torch import fx

from virtualpool.errors import VirtualPoolError
from virtualpool.fuse.choice.ways import Way
from virtualpool.fuse.questions.values import CHANNELS_FIRST, Values
from virtualpool.graph.operations import has_hooks_inside, registered_for
from virtualpool.operator.pool import Axes


class Question(Enum):
    """The positions wanted of a value."""

    FULL = "in full"
    EVEN = "at even positions"

    def strided(self, stride: Axes) -> Axes:
        """The stride with which an operation of windows computes the positions wanted of it.

        >>> Question.FULL.strided((1, 2)), Question.EVEN.strided((1, 2))
        ((1, 2), (2, 4))
        """
        factor = 2 if self is Question.EVEN else 1
        return stride[0] * factor, stride[1] * factor


Asked = Iterable[tuple[fx.Node, Question]]


class Builder(Protocol):
    """The part of the builder that a rule may use when it adds its operation to the new graph.

    Attributes:
        values: the known facts about the old graph's values.
        choices: of operations of the old graph, the ways that there were and their milliseconds.
    """

    values: Values
    choices: dict[fx.Node, dict[Way, float]]

    def full(self, value: fx.Node) -> fx.Node:
        """A value in full."""
        ...

    def even(self, value: fx.Node) -> fx.Node:
        """A value (N, C, h, w) at its even positions; of a permuted map, in its order of axes."""
        ...

    def some(self, value: fx.Node) -> fx.Node:
        """A value in the way in which it is there."""
        ...

    def has_even(self, value: fx.Node) -> bool:
        """Whether a value is there at its even positions without slicing it."""
        ...

    def size(self, value: fx.Node) -> Any:
        """The size (H, W) of a value: a node of the new graph, or two numbers."""
        ...

    def call(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> fx.Node:
        """Calls a function without side effects; the same call is made once."""
        ...

    def copy(self, node: fx.Node, answer: Callable[[fx.Node], fx.Node]) -> fx.Node:
        """Adds an operation of the old graph as it is, on other inputs."""
        ...


class Rule:
    """The rule of an unknown operation: it is computed in full, of full inputs.

    Derive from it, or from `Pointwise`, and register with `rule`.
    """

    def axes(self, node: fx.Node, values: Values) -> Axes:
        """The axes of the rows and the columns of the result, if that is a map."""
        return CHANNELS_FIRST

    def is_interpolated(self, node: fx.Node, values: Values) -> bool:
        """Whether the result equals the virtual pool of its even positions, for any weights."""
        return False

    def answers_even(self, node: fx.Node, values: Values) -> bool:
        """Whether the result can be computed at its even positions alone."""
        return False

    def asks(self, node: fx.Node, question: Question, values: Values) -> Asked:
        """The questions that the operation puts to its inputs, to answer `question` itself."""
        return [(source, Question.FULL) for source in node.all_input_nodes]

    def build(self, node: fx.Node, question: Question, builder: Builder) -> fx.Node:
        """Adds the operation to the new graph, in the way that answers the question."""
        return builder.copy(node, builder.full)

    def size(self, node: fx.Node, builder: Builder) -> Any:
        """The size (H, W) of the full result, for a result at even positions only.

        Either a node of the new graph, or two numbers.
        """
        raise VirtualPoolError(
            f"{type(self).__name__}, the rule of {node.name}, answers at even positions and does "
            "not give the full map's size; give it a method size(node, builder)."
        )


_RULES: dict[Any, Rule] = {}
_FALLBACKS: list[Callable[[fx.Node, Values], Rule | None]] = []
_UNKNOWN = Rule()


def rule(*targets: Any) -> Callable[[type[Rule]], type[Rule]]:
    """Registers a rule for functions, methods of tensors (by name) and classes of modules.

    A later registration replaces an earlier one. A rule for a class of modules serves those that
    derive from it, too, as long as they have the same `forward`.

    >>> import torch
    >>> from virtualpool.fuse import Pointwise, rule
    >>> @rule(torch.special.erf)
    ... class Erf(Pointwise):
    ...     "The error function works on each element by itself."
    """

    def register(kind: type[Rule]) -> type[Rule]:
        _RULES.update(dict.fromkeys(targets, kind()))
        return kind

    return register


def fallback(find: Callable[[fx.Node, Values], Rule | None]) -> None:
    """Registers a function that finds the rule of operations which are not registered by name.

    So are modules with hooks.
    """
    _FALLBACKS.append(find)


def rule_of(node: fx.Node, values: Values) -> Rule:
    """The rule of a node's operation."""
    if node.op in ("placeholder", "get_attr", "output"):
        # The names of these nodes are no operations.
        return _UNKNOWN
    module = values.submodule(node)
    if module is None:
        found = _RULES.get(node.target)
    else:
        # No rule knows by the module's class how a hook changes a map.
        found = None if has_hooks_inside(module) else registered_for(module, _RULES)
    if found is None:
        found = next((r for find in _FALLBACKS if (r := find(node, values)) is not None), None)
    return found or _UNKNOWN


def is_known(node: fx.Node, values: Values) -> bool:
    """Whether there is a rule for a node's operation."""
    return rule_of(node, values) is not _UNKNOWN
