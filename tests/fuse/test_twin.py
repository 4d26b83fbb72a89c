"""Two models with the same parameters."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import virtualpool as vp
from tests.fuse import checks
from virtualpool.fuse import training_twin
from virtualpool.fuse.kernels.sites import observing
from virtualpool.models import all_cnn_c


def test_a_step_of_the_twin_trains_the_model():
    torch.manual_seed(0)
    images = torch.randn(2, 3, 32, 32)
    model = vp.apply(all_cnn_c(), images, "all").train()
    twin = training_twin(model, images)
    before = model(images).detach()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    twin(images).square().sum().backward()
    optimizer.step()
    assert not torch.equal(model(images), before)
    torch.testing.assert_close(model(images), twin(images))


@pytest.mark.parametrize("side", [20, 232])
def test_the_maps_of_its_sites_are_observed_where_a_convolution_writes_them(side):
    chain = nn.Sequential(
        nn.Conv2d(3, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 2, 3, stride=2, padding=1)
    )
    images = checks.images(side, side)
    pooled: Any = vp.apply(chain.double(), images, ["0"])
    twin = training_twin(pooled, images)
    with observing() as maps:
        twin(images)
    first = pooled[0]
    expected = functional.conv2d(images, first.weight, first.bias, 2, 1).relu()
    (map,) = maps["0"]
    torch.testing.assert_close(map, expected)
    (gradient,) = torch.autograd.grad(map.square().sum(), first.weight)
    (other,) = torch.autograd.grad(expected.square().sum(), first.weight)
    torch.testing.assert_close(gradient, other)
