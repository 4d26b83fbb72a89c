"""Two models with the same parameters."""

import torch

import virtualpool as vp
from virtualpool.fuse import training_twin
from virtualpool.models import all_cnn_c


def test_a_step_of_the_twin_trains_the_model():
    torch.manual_seed(0)
    images = torch.randn(2, 3, 32, 32)
    model = vp.apply(all_cnn_c(), "all", images).train()
    twin = training_twin(model, images)
    before = model(images).detach()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    twin(images).square().sum().backward()
    optimizer.step()
    assert not torch.equal(model(images), before)
    torch.testing.assert_close(model(images), twin(images))
