"""Networks as people have them: one of each family in torchvision, small, with random weights."""

import pytest
import torch
from torch import nn
from torchvision.models import get_model

import virtualpool as vp
from virtualpool.inputs import tensors

# The side of the input, another size that the network takes (None: no other), options.
NETWORKS = {
    "alexnet": (64, (97, 80), {}),
    "vgg11_bn": (32, (49, 64), {}),
    "resnet18": (64, (75, 90), {}),
    "densenet121": (64, (75, 90), {}),
    "googlenet": (64, (75, 90), {"init_weights": False}),
    "inception_v3": (75, (96, 91), {"init_weights": False, "aux_logits": False}),
    "mobilenet_v2": (64, (75, 90), {}),
    "mobilenet_v3_small": (64, (75, 90), {}),
    "shufflenet_v2_x0_5": (64, (75, 90), {}),
    "squeezenet1_1": (64, (75, 90), {}),
    "mnasnet0_5": (64, (75, 90), {}),
    "regnet_y_400mf": (64, (75, 90), {}),
    "efficientnet_b0": (64, (75, 90), {}),
    "efficientnet_v2_s": (64, (75, 90), {}),
    "convnext_tiny": (64, (75, 90), {}),
    "vit_b_16": (64, None, {"image_size": 64}),
    "swin_t": (64, (75, 90), {}),
    "maxvit_t": (224, None, {}),
}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    """A network, the same with all its sites pooled, example inputs, and another size."""
    side, other_size, options = NETWORKS[request.param]
    torch.manual_seed(0)
    model = get_model(request.param, weights=None, **options)
    images = torch.rand(2, 3, side, side)
    return model, vp.apply(model, "all", images), images, other_size


def shapes(outputs):
    return [tuple(output.shape) for output in tensors(outputs)]


def assert_finite(outputs):
    assert all(output.isfinite().all() for output in tensors(outputs))


def test_every_convolution_is_a_site_once(network):
    model, pooled, images, _ = network
    expected = sorted(
        name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)
    )
    sites = vp.sites(model, images)
    assert sorted(site.name for site in sites) == expected
    assert all(site.eligible == (site.reason is None) for site in sites)
    assert vp.plan_of(pooled).names == [site.name for site in sites if site.eligible]


def test_only_the_eligible_strides_are_doubled(network):
    model, pooled, _, _ = network
    eligible = vp.plan_of(pooled).names
    assert eligible
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            factor = 2 if name in eligible else 1
            doubled = tuple(factor * stride for stride in module.stride)
            assert pooled.get_submodule(name).stride == doubled


def test_the_parameters_keep_their_names(network):
    model, pooled, _, _ = network
    assert list(pooled.state_dict()) == list(model.state_dict())
    pooled.load_state_dict(model.state_dict())


@torch.no_grad()
def test_it_runs_in_eval(network):
    model, pooled, images, _ = network
    outputs = pooled.eval()(images)
    assert_finite(outputs)
    assert shapes(outputs) == shapes(model.eval()(images))
    assert not torch.equal(outputs, model(images))


@torch.no_grad()
def test_it_runs_at_another_size(network):
    model, pooled, _, size = network
    if size is None:
        pytest.skip("this network takes one size")
    images = torch.rand(1, 3, *size)
    outputs = pooled.eval()(images)
    assert_finite(outputs)
    assert shapes(outputs) == shapes(model.eval()(images))


def test_it_trains(network):
    model, pooled, images, _ = network
    expected, outputs = model.train()(images), pooled.train()(images)
    assert_finite(outputs)
    assert shapes(outputs) == shapes(expected)
    for result in (expected, outputs):
        torch.stack([output.sum() for output in tensors(result)]).sum().backward()
    for name, parameter in model.named_parameters():
        gradient = pooled.get_parameter(name).grad
        assert (gradient is None) == (parameter.grad is None)
        assert gradient is None or gradient.isfinite().all()


def test_every_multiply_accumulate_of_an_eligible_site_is_saved_but_a_quarter(network):
    model, pooled, images, _ = network
    eligible = [site.macs for site in vp.sites(model, images) if site.eligible]
    saved = vp.measure.macs(model, images) - vp.measure.macs(pooled, images)
    # Rows and columns of odd maps are rounded up: less is saved there.
    assert 0.4 * sum(eligible) < saved <= 0.75 * sum(eligible)
