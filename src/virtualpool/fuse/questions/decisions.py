"""How each value of a graph is computed, decided by the questions that its readers ask.

Going back from the outputs, all that is asked of a value is known before it is decided how to
answer. A value that is asked for in both ways, and is not interpolated, is computed in full.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import fx

from virtualpool.fuse.questions.rule import Question, Rule, rule_of
from virtualpool.fuse.questions.values import CHANNELS_FIRST, Values


@dataclass
class Answers:
    """How each value that is asked for is computed; later questions are derived from it.

    Attributes:
        of: for each value, whether it is computed in full or at its even positions.
        askers: of each value, who asks for it in full.
    """

    of: dict[fx.Node, Question] = field(default_factory=dict)
    askers: dict[fx.Node, list[fx.Node]] = field(default_factory=lambda: defaultdict(list))


def mark(
    graph: fx.Graph, values: Values, is_recovered: Callable[[fx.Node], bool] = lambda _: True
) -> None:
    """Finds permuted maps, and values that equal the virtual pool of their even positions.

    `is_recovered` may say of a node that it does not count as such a value.
    """
    for node in graph.nodes:
        rule = rule_of(node, values)
        axes = rule.axes(node, values)
        if values.axes(node) is not None and axes != CHANNELS_FIRST:
            values.permuted[node] = axes
        if rule.is_interpolated(node, values) and is_recovered(node):
            values.interpolated.add(node)


def decide(graph: fx.Graph, values: Values) -> Answers:
    """Decides how each value is computed."""
    answers = Answers()
    asked: dict[fx.Node, set[Question]] = defaultdict(set)
    for node in reversed(graph.nodes):
        questions = asked[node]
        # An unused node, the output or a check, is there for its effect.
        if not node.users and node.op != "placeholder":
            questions = questions | {Question.FULL}
        if not questions:
            continue
        rule = rule_of(node, values)
        answers.of[node] = _answer(node, rule, questions, values)
        for source, question in rule.asks(node, answers.of[node], values):
            asked[source].add(question)
            if question is Question.FULL:
                answers.askers[source].append(node)
    return answers


def _answer(node: fx.Node, rule: Rule, questions: set[Question], values: Values) -> Question:
    is_enough = node in values.interpolated or Question.FULL not in questions
    return Question.EVEN if is_enough and rule.answers_even(node, values) else Question.FULL
