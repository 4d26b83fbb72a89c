"""Norms under any name, alone or with an activation in one module: placed and fused alike."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import virtualpool as vp
from tests.fuse.checks import assert_same, images, pooled_and_fused, run
from tests.fuse.networks import with_statistics
from tests.norms import FrozenNorm


class Centred(FrozenNorm):
    """The same, in another order."""

    def forward(self, x):
        deviation = torch.sqrt(self.running_var[:, None, None] + 1e-3)
        x = (x - self.running_mean.view(-1, 1, 1)) / deviation
        return self.bias.view(1, -1, 1, 1) + self.weight.view(1, -1, 1, 1) * x


class Scale(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(channels, 1, 1))

    def forward(self, x):
        return x * self.scale


class InOne(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.act = with_statistics(nn.BatchNorm2d(channels)), nn.ReLU()

    def forward(self, x):
        return self.act(self.norm(x))


class Sequence(nn.Sequential):
    def __init__(self, channels: int) -> None:
        super().__init__(with_statistics(nn.BatchNorm2d(channels)), nn.Dropout(), nn.PReLU())


class InFunctions(nn.BatchNorm2d):
    def forward(self, input):
        return functional.leaky_relu(super().forward(input), 0.1)


LAYERS = {
    "frozen": lambda: [FrozenNorm(4), nn.ReLU()],
    "frozen, written otherwise": lambda: [Centred(4), nn.SiLU()],
    "a scale": lambda: [Scale(4), nn.ReLU()],
    "in one": lambda: [InOne(4)],
    "in one sequence": lambda: [Sequence(4)],
    "in functions": lambda: [with_statistics(InFunctions(4))],
}


def chain(layers) -> nn.Module:
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(channels, 4, 3, padding=1) for channels in (3, 4, 4)]
    found = [each for convolution in convolutions for each in (convolution, *layers())]
    return nn.Sequential(*found, nn.AdaptiveAvgPool2d(1)).double().eval()


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_it_is_placed_after_the_activation_and_fused(layers):
    model, x = chain(layers), images(20, 21)
    assert [site.follows for site in vp.sites(model, x)] == ["activation"] * 3
    pooled, fused, report = pooled_and_fused(model, x)
    for each in (x, images(17, 12)):
        assert_same(run(fused, each), run(pooled, each))
    assert not report.interpolations


@pytest.mark.parametrize("name", ["frozen", "frozen, written otherwise", "a scale"])
def test_arithmetic_of_each_channel_is_folded(name):
    model, x = chain(LAYERS[name]), images(20, 21)
    _, fused, _ = pooled_and_fused(model, x)
    assert " * " not in fused.evaluation.source
    assert " + " not in fused.evaluation.source
    # Folded values follow the parameters.
    state = {key: value * 1.5 for key, value in model.state_dict().items()}
    fused.load_state_dict(state)
    model.load_state_dict(state)
    assert_same(run(fused, x), run(vp.apply(model, x), x))


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_in_training(layers):
    model, x = chain(layers).train(), images(12, 13)
    pooled = vp.apply(model, x)
    fused = vp.fuse(pooled, x, training=True)
    assert_same(run(fused, x), run(pooled, x))
    assert_same(run(fused.eval(), x), run(pooled.eval(), x))
