"""The maps of sites of networks that change them in place, or make several in one forward."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import FrozenBatchNorm2d

import virtualpool as vp
from virtualpool.fuse import training_twin
from virtualpool.recover.site_maps import maps_of, site_maps


def convolution(channels: int = 4, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, 4, 3, stride, padding=1)


class Block(nn.Module):
    """Adds to a map in place, and activates it in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = convolution(3), convolution()
        self.activation = nn.Hardswish(inplace=True)

    def forward(self, images):
        identity = self.activation(self.first(images))
        out = self.second(identity)
        out += identity
        return self.activation(out)


class Head(nn.Module):
    """The same convolutions on maps of three sizes, whose second reads the last map first."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.stem, self.activation = convolution(3), activation
        self.first, self.second = convolution(), convolution(stride=2)

    def forward(self, images):
        map = self.stem(images)
        levels = [map[..., ::step, ::step] for step in (1, 2, 4)]
        levels = [self.activation(self.first(level)) for level in levels]
        return [self.second(level).mean() for level in reversed(levels)]


class Norms(nn.Module):
    """A convolution on maps of two sizes, with a normalisation for each."""

    def __init__(self) -> None:
        super().__init__()
        self.first = convolution(3)
        self.norms = nn.ModuleList(FrozenBatchNorm2d(4) for _ in range(2))
        for norm in self.norms:
            nn.init.normal_(norm.get_buffer("weight"))

    def forward(self, images):
        levels = images, images[..., ::2, ::2]
        pairs = zip(self.norms, levels, strict=True)
        return [functional.silu(norm(self.first(level))).mean() for norm, level in pairs]


class Functional(nn.Module):
    """Normalises by a function."""

    def __init__(self) -> None:
        super().__init__()
        self.first = convolution(3)

    def forward(self, images):
        return functional.group_norm(self.first(images), 2).relu()


def maps(model: Any, site: str, images: Tensor) -> list[Tensor]:
    """The maps of each call of a site, worked out by hand."""
    if isinstance(model, Block):
        first = functional.hardswish(model.first(images))
        return [first] if site == "first" else [model.second(first)]
    if isinstance(model, Norms):
        levels = images, images[..., ::2, ::2]
        pairs = zip(model.norms, levels, strict=True)
        return [functional.silu(norm(model.first(level))) for norm, level in pairs]
    map = model.stem(images)
    levels = [model.first(map[..., ::step, ::step]) for step in (1, 2, 4)]
    return [model.activation(level.clone()) for level in levels]


@pytest.mark.parametrize("images", [torch.randn(2, 3, 32, 32), torch.randn(1, 3, 27, 30)])
@pytest.mark.parametrize(
    ("make", "site"),
    [
        (Block, "first"),
        (Block, "second"),
        (Norms, "first"),
        (lambda: Head(nn.ReLU()), "first"),
        (lambda: Head(nn.ReLU(inplace=True)), "first"),
        (lambda: Head(nn.PReLU()), "first"),
    ],
)
def test_they_are_those_of_every_call(make, site, images):
    original = make()
    pooled = vp.apply(original, images, [site])
    sites = site_maps(original, pooled, images)
    expected = maps(original, site, images)
    for model in (original, pooled, training_twin(pooled, images)):
        with maps_of(model, sites) as found:
            model(images)
        full = expected if model is original else [map[..., ::2, ::2] for map in expected]
        torch.testing.assert_close(found, {site: full})


def test_a_site_whose_end_cannot_be_called_apart_is_left_out():
    images = torch.randn(1, 3, 8, 8)
    original = Functional()
    assert site_maps(original, vp.apply(original, images, "all"), images) == []
