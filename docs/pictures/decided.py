"""What `fuse` decides on a pooled network, in words for a picture."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import torch
from networks import Example
from torch import fx

import virtualpool as vp
from virtualpool.fuse import Question, report_of
from virtualpool.fuse.passes.convolutions import as_functions
from virtualpool.fuse.questions import decisions
from virtualpool.fuse.questions.rule import rule_of
from virtualpool.fuse.questions.values import Values
from virtualpool.graph.geometry import pair
from virtualpool.graph.inputs import as_call
from virtualpool.graph.parts import trace

_IMAGES = torch.zeros(1, 3, 32, 32)


class Kind(Enum):
    """How a value is computed."""

    FULL = "in full"
    EVEN = "at even positions; nobody asks for the others"
    INTERPOLATED = "at even positions; the others are their means, and nobody asks for them"
    RECOVERED = "at even positions, then the means between: somebody asks for it in full"


@dataclass(frozen=True)
class Decided:
    """How each value of a pooled network is computed.

    Attributes:
        values: the known facts about the values.
        answers: the decisions.
        summary: the report of the fused network, in a line.
    """

    values: Values
    answers: decisions.Answers
    summary: str

    @classmethod
    def on(cls, example: Example) -> "Decided":
        """Pools a network and decides, in the steps of `fuse`."""
        pooled = vp.apply(example.network, _IMAGES, example.sites)
        report = report_of(vp.fuse(pooled, _IMAGES))
        assert report is not None
        (part,) = trace(pooled, _IMAGES).parts
        graph = part.evaluation
        values = Values(graph, part.module, as_call(_IMAGES), training=False)
        as_functions(graph, values)
        decisions.mark(graph, values)
        return cls(values, decisions.decide(graph, values), report.summary)

    def maps(self) -> list[fx.Node]:
        """The values in the order in which they are computed, without parameters and sizes."""
        asked = [node for node in reversed(self.answers.of) if node.op != "get_attr"]
        return [node for node in asked if node.op == "output" or self.values.size(node)]

    def kind(self, x: fx.Node) -> Kind:
        """How a map is computed."""
        if self.answers.of[x] is Question.FULL:
            return Kind.FULL
        if x not in self.values.interpolated:
            return Kind.EVEN
        return Kind.RECOVERED if self.answers.askers[x] else Kind.INTERPOLATED

    def asks(self, x: fx.Node) -> Iterator[tuple[fx.Node, Question]]:
        """The questions of a map to the maps that it is computed from."""
        rule = rule_of(x, self.values)
        for source, question in rule.asks(x, self.answers.of[x], self.values):
            if source in self.answers.of and self.values.size(source) and source.op != "get_attr":
                yield source, question

    def operation(self, x: fx.Node) -> str:
        """What makes a map, as the code calls it."""
        name = getattr(x.target, "__name__", str(x.target))
        if x.target is not torch.conv2d:
            return name
        weight, stride = self.values.shape(x.args[1]), pair(x.args[3])
        assert weight is not None
        assert stride is not None
        return f"{name} {weight[2]}×{weight[3]}, stride {stride[0]}"

    def size(self, x: fx.Node) -> str:
        """In which size a map is computed."""
        size = self.values.size(x)
        assert size is not None
        full = "×".join(str(length) for length in size)
        even = "×".join(str((length + 1) // 2) for length in size)
        kind = self.kind(x)
        if kind is Kind.FULL:
            return full
        return f"{even}, then {full}" if kind is Kind.RECOVERED else f"{even} of {full}"
