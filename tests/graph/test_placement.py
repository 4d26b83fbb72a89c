import pytest
import torch
from torch import fx, nn
from torch.nn import functional

from virtualpool.graph.placement import input_of, is_before_pool, placement
from virtualpool.graph.tracer import Tracer
from virtualpool.operator.pool import virtual_pool


class Network(nn.Module):
    """Runs `code` after its convolution; `code` is given the module too."""

    def __init__(self, code):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU()
        self.drop = nn.Dropout()
        self.same = nn.Identity()
        self.pool = nn.MaxPool2d(2)
        self.code = code

    def forward(self, x):
        return self.code(self, self.conv(x), x)


CODES = {
    "nothing": (lambda m, y, x: y, "conv", "conv", False),
    "norm": (lambda m, y, x: m.norm(y), "norm", "norm", False),
    "activation": (lambda m, y, x: m.act(y), "act", "activation", False),
    "norm and activation": (lambda m, y, x: m.act(m.norm(y)), "act", "activation", False),
    "two norms": (
        lambda m, y, x: m.act(functional.instance_norm(m.norm(y))), "norm", "norm", False,
    ),
    "two activations": (lambda m, y, x: torch.tanh(m.act(y)), "act", "activation", False),
    "activation and norm": (lambda m, y, x: m.norm(m.act(y)), "act", "activation", False),
    "a function": (lambda m, y, x: functional.relu(y), "relu", "activation", False),
    "a method": (lambda m, y, x: y.relu(), "relu", "activation", False),
    "by keyword": (lambda m, y, x: functional.relu(input=y), "relu", "activation", False),
    "residual": (lambda m, y, x: m.act(m.norm(y) + x), "norm", "norm", False),
    "residual at once": (lambda m, y, x: m.act(y + x), "conv", "conv", False),
    "branch after the convolution": (lambda m, y, x: m.act(y) + y, "conv", "conv", False),
    "branch after the norm": (lambda m, y, x: (m.norm(y), m.act(m.norm(y))), "conv", "conv", False),
    "branch after the activation": (
        lambda m, y, x: (lambda z: m.pool(z) + z.mean())(m.act(y)), "act", "activation", False,
    ),
    "dropout between": (lambda m, y, x: m.act(m.drop(y)), "act", "activation", False),
    "nothing between": (
        lambda m, y, x: m.act(m.same(m.norm(m.same(m.drop(y))))), "act", "activation", False,
    ),
    "dropout alone": (lambda m, y, x: m.drop(y), "conv", "conv", False),
    "dropout, branch, activation": (
        lambda m, y, x: (lambda z: m.act(z) + z)(m.drop(m.norm(y))), "norm", "norm", False,
    ),
    "pool": (lambda m, y, x: m.pool(y), "conv", "conv", True),
    "activation and pool": (lambda m, y, x: m.pool(m.act(y)), "act", "activation", True),
    "activation, dropout, pool": (
        lambda m, y, x: m.pool(m.drop(m.act(y))), "act", "activation", True,
    ),
    "pool and activation": (lambda m, y, x: m.act(m.pool(y)), "conv", "conv", True),
    "global pool": (
        lambda m, y, x: functional.adaptive_avg_pool2d(m.act(y), 1), "act", "activation", True,
    ),
    "mean over space": (lambda m, y, x: m.act(y).mean((2, 3)), "act", "activation", True),
    "mean over channels": (lambda m, y, x: m.act(y).mean(1), "act", "activation", False),
    "squeeze": (
        lambda m, y, x: (lambda z: z * z.mean((2, 3), keepdim=True))(m.act(y)),
        "act", "activation", False,
    ),
    "already recovered": (
        lambda m, y, x: m.pool(virtual_pool(m.act(y), (8, 8))), "act", "activation", True,
    ),
    # The map is the weight here, not the activated or normalised map.
    "as a weight": (lambda m, y, x: functional.prelu(x, y), "conv", "conv", False),
    "as statistics": (lambda m, y, x: functional.batch_norm(x, y, y), "conv", "conv", False),
    "beside another map": (lambda m, y, x: torch.clamp(y, x, x + 1), "conv", "conv", False),
    "as an output too": (lambda m, y, x: (m.act(y), y), "conv", "conv", False),
}  # fmt: skip


@pytest.mark.parametrize(("code", "end", "follows", "pool"), CODES.values(), ids=CODES)
def test_placement(code, end, follows, pool):
    network = Network(code)
    graph = Tracer(network, frozenset()).graph_of(network, ((torch.rand(1, 4, 8, 8),), {}))
    (conv,) = graph.find_nodes(op="call_module", target="conv")
    node, found = placement(conv, network)
    assert (node.name, found) == (end, follows)
    assert is_before_pool(conv, network) is pool
    assert input_of(conv).name == "x"


def test_input_given_by_keyword():
    class Keyword(Network):
        def forward(self, x):
            return self.conv(input=x)

    graph = fx.symbolic_trace(Keyword(None)).graph
    (conv,) = graph.find_nodes(op="call_module", target="conv")
    assert input_of(conv).name == "x"


class InOne(nn.Sequential):
    """A sequence of a class of its own is one operation of the graph."""


IN_ONE = {
    "norm and activation": (InOne(nn.BatchNorm2d(4), nn.ReLU()), "wrapped", "activation"),
    "activation behind dropout": (
        InOne(nn.InstanceNorm2d(4), nn.Dropout(), nn.PReLU()), "wrapped", "activation",
    ),
    "norm alone": (InOne(nn.BatchNorm2d(4), nn.Dropout()), "act", "activation"),
}  # fmt: skip


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("wrapped", "end", "follows"), IN_ONE.values(), ids=IN_ONE)
def test_norm_and_activation_in_one_module(wrapped, end, follows, training):
    network = Network(lambda m, y, x: m.act(m.wrapped(y)))
    network.wrapped = wrapped
    network.train(training)
    graph = Tracer(network, frozenset()).graph_of(network, ((torch.rand(1, 4, 8, 8),), {}))
    (conv,) = graph.find_nodes(op="call_module", target="conv")
    node, found = placement(conv, network)
    assert (node.name, found) == (end, follows)
    assert all(each.training is training for each in network.modules())
