import pytest
import torch
from torch import nn
from torch.nn import functional

from virtualpool.bound.lipschitz import activation_name, argument_names, constant

ACTIVATIONS = [
    nn.CELU(0.5), nn.ELU(1.5), nn.GELU(), nn.GELU(approximate="tanh"), nn.Hardsigmoid(),
    nn.Hardswish(), nn.Hardtanh(-2, 3), nn.LeakyReLU(0.2), nn.LeakyReLU(-1.5), nn.LogSigmoid(),
    nn.Mish(), nn.PReLU(init=2.0), nn.ReLU(), nn.ReLU6(), nn.SELU(), nn.SiLU(), nn.Sigmoid(),
    nn.Softplus(2.0), nn.Softshrink(), nn.Softsign(), nn.Tanh(), nn.Tanhshrink(),
]  # fmt: skip


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_it_is_the_largest_slope(activation):
    points = torch.linspace(-15, 15, 30_001, dtype=torch.float64)
    values = activation.double()(points)
    slope = (values.diff() / points.diff()).abs().max().item()
    name = activation_name(activation)
    given = {each: getattr(activation, each) for each in argument_names(name)}
    found = constant(name, given)
    assert found is not None
    assert slope - 1e-6 <= found <= slope + 0.005


@pytest.mark.parametrize(
    ("spelling", "module"),
    [
        (functional.relu, nn.ReLU()),
        (torch.relu, nn.ReLU()),
        (torch.relu_, nn.ReLU()),
        ("relu", nn.ReLU()),
        (functional.leaky_relu, nn.LeakyReLU()),
        (functional.logsigmoid, nn.LogSigmoid()),
        (functional.silu, nn.SiLU()),
    ],
)
def test_spellings(spelling, module):
    assert activation_name(spelling) == activation_name(module)


class Steep(nn.ReLU):
    def forward(self, input):
        return 3 * input


def relu(x):
    return 3 * x


@pytest.mark.parametrize("other", [Steep(), relu])
def test_what_only_has_the_name_is_not_it(other):
    assert activation_name(other) == ""


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("threshold", {}), ("hardshrink", {}), ("softmax", {}), ("celu", {"alpha": -1.0}),
     ("softplus", {"beta": 1.0, "threshold": 3.0}), ("", {})],
)  # fmt: skip
def test_those_that_have_none(name, arguments):
    assert constant(name, arguments) is None
