"""The new graph, forwards: each value as it was decided, the other answers derived when needed."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import fx

from virtualpool.fuse.choice.ways import Way
from virtualpool.fuse.questions.rule import Question, rule_of
from virtualpool.fuse.questions.sizes import even_positions, recovered, size_of
from virtualpool.fuse.questions.values import Values
from virtualpool.operator.pool import Axes, virtual_pool


class GraphBuilder:
    """Makes the new graph, and answers for the values of the old one in it.

    Attributes:
        graph: the new graph.
        values: the known facts about the old graph's values.
        recovered: the values of the old graph that still had to be interpolated.
        choices: of operations of the old graph, the ways that there were and their milliseconds.
    """

    def __init__(self, values: Values) -> None:
        self.graph = fx.Graph()
        self.values = values
        self.recovered: list[fx.Node] = []
        self.choices: dict[fx.Node, dict[Way, float]] = {}
        self._full: dict[fx.Node, fx.Node] = {}
        self._even: dict[fx.Node, fx.Node] = {}
        self._sizes: dict[fx.Node, Any] = {}
        self._calls: dict[Any, fx.Node] = {}

    def build(self, node: fx.Node, question: Question) -> None:
        """Adds a value of the old graph, computed in one of the two ways."""
        built = rule_of(node, self.values).build(node, question, self)
        (self._full if question is Question.FULL else self._even)[node] = built

    def full(self, value: fx.Node) -> fx.Node:
        """A value in full."""
        if value not in self._full:
            # Only an interpolated value is asked for in full when it is not there.
            self.recovered.append(value)
            even, size, axes = self._even[value], self.size(value), self._axes(value)
            self._full[value] = self.call(recovered if axes else virtual_pool, even, size, *axes)
        return self._full[value]

    def even(self, value: fx.Node) -> fx.Node:
        """A value (N, C, h, w) at its even positions; of a permuted map, in its order of axes."""
        if value not in self._even:
            full = self._full[value]
            self._even[value] = self.call(even_positions, full, *self._axes(value))
        return self._even[value]

    def some(self, value: fx.Node) -> fx.Node:
        """A value in the way in which it is there."""
        return self._full[value] if value in self._full else self._even[value]

    def has_even(self, value: fx.Node) -> bool:
        """Whether a value is there at its even positions without slicing it."""
        return value in self._even

    def size(self, value: fx.Node) -> Any:
        """The size (H, W) of a value: a node of the new graph, or two numbers."""
        if value not in self._sizes:
            if value in self._full and self.values.grid(value) is not None:
                self._sizes[value] = self.call(size_of, self._full[value], *self._axes(value))
            else:
                self._sizes[value] = rule_of(value, self.values).size(value, self)
        return self._sizes[value]

    def _axes(self, value: fx.Node) -> tuple[Axes] | tuple[()]:
        """The argument for the axes of the rows and columns, where they are not the last."""
        permuted = self.values.permuted
        return (permuted[value],) if value in permuted else ()

    def call(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> fx.Node:
        """Calls a function without side effects; the same call is made once."""
        key = (function, *map(_hashable, arguments), *sorted(keywords.items()))
        if key not in self._calls:
            self._calls[key] = self.graph.call_function(function, arguments, keywords)
        return self._calls[key]

    def copy(self, node: fx.Node, answer: Callable[[fx.Node], fx.Node]) -> fx.Node:
        """Adds an operation of the old graph as it is, on other inputs."""
        return self.graph.node_copy(node, answer)


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, tuple | list) else value


def rebuilt(graph: fx.Graph, values: Values, answers: Mapping[fx.Node, Question]) -> GraphBuilder:
    """The new graph, with its builder.

    Args:
        graph: the old one.
        values: the known facts about its values.
        answers: how each value that is asked for is computed; inputs are there in any case.
    """
    builder = GraphBuilder(values)
    for node in graph.nodes:
        if node.op == "placeholder" or node in answers:
            builder.build(node, answers.get(node, Question.FULL))
    return builder
