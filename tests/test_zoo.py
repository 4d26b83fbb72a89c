"""Networks as people have them: one of each family in torchvision, shallow, with random weights."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer

import virtualpool as vp
from tests.shallow import WHOLE_ZOO, network
from virtualpool.graph.inputs import tensors

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
    "convnext_tiny": (64, (75, 90), {}),
    "vit_b_16": (64, None, {"image_size": 64}),
    "swin_t": (64, (75, 90), {}),
}
# Slow ones, of parts that others have.
if WHOLE_ZOO:
    NETWORKS |= {"efficientnet_v2_s": (64, (75, 90), {}), "maxvit_t": (224, None, {})}


@dataclass(frozen=True)
class Case:
    """A network, its sites, and the same with all of them pooled."""

    model: nn.Module
    pooled: nn.Module
    sites: list[vp.Site]
    images: torch.Tensor
    other_size: tuple[int, int] | None


@pytest.fixture(scope="module", params=NETWORKS)
def case(request):
    side, other_size, options = NETWORKS[request.param]
    torch.manual_seed(0)
    model = network(request.param, **options)
    if isinstance(model, VisionTransformer):
        # Zero at first, so that all outputs are.
        nn.init.normal_(model.get_parameter("heads.head.weight"))
    images = torch.rand(2, 3, side, side)
    pooled = vp.apply(model, images, "all")
    return Case(model, pooled, vp.sites(model, images), images, other_size)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    # On maps this small, threads wait for each other more than they work.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def shapes(outputs):
    return [tuple(output.shape) for output in tensors(outputs)]


def assert_alike(pooled, model):
    """Finite outputs of the shapes of the original's."""
    assert all(output.isfinite().all() for output in tensors(pooled))
    assert shapes(pooled) == shapes(model)


def test_every_convolution_is_a_site_once(case):
    modules = case.model.named_modules()
    expected = sorted(name for name, module in modules if isinstance(module, nn.Conv2d))
    assert sorted(site.name for site in case.sites) == expected
    eligible = [site.name for site in case.sites if site.eligible]
    assert vp.plan_of(case.pooled).names == eligible
    assert eligible


def test_only_the_strides_of_eligible_sites_are_doubled(case):
    for site in case.sites:
        stride = case.pooled.get_submodule(site.name).stride
        assert stride == tuple((2 if site.eligible else 1) * steps for steps in site.stride)


def test_the_parameters_keep_their_names(case):
    assert list(case.pooled.state_dict()) == list(case.model.state_dict())


@torch.no_grad()
def test_it_runs_in_eval(case):
    pooled, original = case.pooled.eval()(case.images), case.model.eval()(case.images)
    assert_alike(pooled, original)
    assert not torch.equal(pooled, original)


@torch.no_grad()
def test_it_runs_at_another_size(case):
    if case.other_size is None:
        pytest.skip("this network takes one size")
    images = torch.rand(1, 3, *case.other_size)
    assert_alike(case.pooled.eval()(images), case.model.eval()(images))


def test_it_trains(case):
    pooled, original = case.pooled.train()(case.images), case.model.train()(case.images)
    assert_alike(pooled, original)
    for outputs in (pooled, original):
        torch.stack([output.sum() for output in tensors(outputs)]).sum().backward()
    for name, parameter in case.model.named_parameters():
        gradient = case.pooled.get_parameter(name).grad
        assert (gradient is None) == (parameter.grad is None), name
        assert gradient is None or gradient.isfinite().all(), name


def test_eligible_sites_save_their_share_of_the_arithmetic(case):
    saved = vp.measure.macs(case.model, case.images) - vp.measure.macs(case.pooled, case.images)
    eligible = sum(site.macs for site in case.sites if site.eligible)
    # Three quarters, and less on small maps of odd size, whose halves are rounded up.
    assert 0.4 * eligible < saved <= 0.75 * eligible
