"""The facts about a graph's values that show when it runs."""

from typing import Any

import pytest
import torch
from torch import fx, nn

from virtualpool.fuse.questions.values import UnfusableError, Values


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.scale = nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x, factor=2.0):
        map = self.conv(x)
        flat = map.flatten(1)
        map.mul_(factor)
        one, other = (map * self.scale).chunk(2, 1)
        return one + other, flat, map.shape[2]


def seen() -> tuple[Values, dict[str, fx.Node]]:
    module = Net()
    graph = fx.symbolic_trace(module).graph
    with torch.no_grad():
        values = Values(graph, module, ((torch.zeros(2, 3, 6, 7),), {}), training=False)
    return values, {node.name: node for node in graph.nodes}


def test_shapes():
    values, nodes = seen()
    assert values.shape(nodes["conv"]) == (2, 4, 6, 7)
    assert values.size(nodes["conv"]) == (6, 7)
    assert values.shape(nodes["flatten"]) == (2, 168)
    assert values.shape(nodes["scale"]) == (4, 1, 1)
    assert values.parts(nodes["chunk"]) == [(2, 2, 6, 7)] * 2
    for name, shape in (("flatten", (2, 168)), ("chunk", None), ("getitem_2", None)):
        assert values.size(nodes[name]) is None
        assert values.shape(nodes[name]) == shape
    assert values.shape(2) is None
    assert values.size("conv") is None


def test_changes_and_who_sees_them():
    values, nodes = seen()
    changed: dict[str, Any] = {
        name: values.changed_by(node) for name, node in nodes.items() if values.changed_by(node)
    }
    assert changed == {"mul_": [nodes["conv"]]}
    assert values.returns(nodes["mul_"], nodes["conv"])
    assert not values.returns(nodes["flatten"], nodes["conv"])
    # The output is a tuple with some of it.
    shared = values.sharing(nodes["conv"])
    assert [node.name for node in shared] == ["conv", "flatten", "mul_", "output"]
    shared = values.sharing(nodes["getitem"])
    assert {node.name for node in shared} == {"mul", "chunk", "getitem", "getitem_1"}


def test_an_added_node_has_the_shape_of_another():
    values, nodes = seen()
    node = nodes["conv"].graph.call_function(torch.relu, (nodes["conv"],))
    assert values.shape(node) is None
    values.adopt(node, nodes["conv"])
    assert values.size(node) == (6, 7)


def test_any_number_of_arguments_is_none_that_is_known():
    class Star(nn.Module):
        def forward(self, *maps):
            return maps[0]

    graph = fx.Graph()
    graph.output(graph.placeholder("*maps"))
    with pytest.raises(UnfusableError, match="any number of arguments"):
        Values(graph, Star(), ((torch.zeros(1),), {}), training=False)
