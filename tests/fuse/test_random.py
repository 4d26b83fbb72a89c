"""Random small networks: each fused one computes the same as the pooled one.

More of them: VIRTUALPOOL_EXAMPLES=2000.
"""

import copy
import os

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import nn

import virtualpool as vp
from tests.fuse.checks import assert_same, run
from tests.fuse.networks import networks
from virtualpool.fuse.rules import convolution
from virtualpool.graph.inputs import tensors

EXAMPLES = int(os.environ.get("VIRTUALPOOL_EXAMPLES", "12"))
SETTINGS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="VIRTUALPOOL_EXAMPLES" not in os.environ,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
    ],
)
# A random network may ask for more than is wise.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


@pytest.fixture(scope="module", params=[1, 112], ids=["by strips", "by more cells"], autouse=True)
def border(request):
    """Both ways to the border of a map, which in the library depend on its size."""
    before = convolution._LARGE
    convolution._LARGE = request.param
    yield
    convolution._LARGE = before


def pooled_networks(case, data) -> tuple[nn.Module, torch.Tensor]:
    """A network that was drawn, with some of its sites pooled."""
    network, example = case
    sites = [site.name for site in vp.sites(network, example) if site.eligible]
    assume(sites)
    if data.draw(st.booleans(), "only some sites"):
        sites = [name for name in sites if data.draw(st.booleans(), name)] or sites[:1]
    border = data.draw(st.sampled_from(["exact", "padded"]), "border")
    return vp.apply(network, example, sites, border=border), example


def other_images(example: torch.Tensor, data) -> torch.Tensor:
    batch, height, width = (
        data.draw(st.integers(1, 3), "batch"),
        example.shape[2] + data.draw(st.integers(-3, 4), "rows"),
        example.shape[3] + data.draw(st.integers(-3, 4), "columns"),
    )
    layout = data.draw(st.sampled_from([torch.contiguous_format, torch.channels_last]), "layout")
    images = torch.rand(batch, example.shape[1], height, width, dtype=torch.float64)
    return images.to(memory_format=layout)


@SETTINGS
@given(networks(), st.data())
def test_in_eval_mode(case, data):
    pooled, example = pooled_networks(case, data)
    fused = vp.fuse(pooled, example)
    assert_same(run(fused, example), run(pooled, example))
    others = other_images(example, data)
    try:
        expected = run(pooled, others)
    except (RuntimeError, ValueError, vp.VirtualPoolError):
        return  # the network takes no other size
    assert_same(run(fused, others), expected)


def with_gradients(model: nn.Module, images: torch.Tensor):
    torch.manual_seed(0)
    given = images.clone().requires_grad_()
    out = model(given * 1)
    loss = torch.stack([each.square().sum() for each in tensors(out) if each.requires_grad]).sum()
    sources = [given, *model.parameters()]
    gradients = torch.autograd.grad(loss, sources, allow_unused=True, materialize_grads=True)
    return out, gradients


@SETTINGS
@given(networks(most=5), st.booleans(), st.data())
def test_in_training(case, training, data):
    for module in case[0].modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0  # dropping from a reduced map is another draw
    pooled, example = pooled_networks(case, data)
    fused = vp.fuse(pooled.train(training), example, training=True)
    assert fused.training == training
    try:
        out, expected = with_gradients(copy.deepcopy(pooled), example)
    except RuntimeError:
        return  # a value is changed that autograd needs
    fused_out, gradients = with_gradients(fused, example)
    assert_same(fused_out, out)
    scale = max(gradient.abs().max().item() for gradient in expected if gradient.numel())
    for gradient, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-8, atol=1e-9 * scale)
    run(pooled, example)
    for buffer, wanted in zip(fused.buffers(), pooled.buffers(), strict=True):
        torch.testing.assert_close(buffer, wanted)
