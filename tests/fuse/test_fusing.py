"""Fused models equal pooled ones."""

import copy
import pickle
import random
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torchvision.models import get_model

import virtualpool as vp
from tests.fuse.conftest import assert_fused_equals_pooled, relative_error, with_statistics
from virtualpool.forward import ForwardCode
from virtualpool.fuse import report_of
from virtualpool.pool import virtual_pool

NETWORKS = [
    ("vgg11", 64, 64),
    ("vgg11_bn", 65, 70),
    ("resnet18", 65, 70),
    ("resnet50", 64, 33),
    ("mobilenet_v2", 75, 64),
    ("mobilenet_v3_small", 64, 71),
    ("efficientnet_b0", 64, 65),
    ("densenet121", 64, 77),
    ("squeezenet1_1", 97, 64),
    ("shufflenet_v2_x0_5", 64, 66),
    ("regnet_y_400mf", 64, 71),
    ("mnasnet0_5", 64, 65),
    ("googlenet", 64, 65),
    ("convnext_tiny", 64, 70),
]


@pytest.mark.parametrize(("name", "height", "width"), NETWORKS)
@pytest.mark.parametrize("part", ["all", "half", "one"])
def test_networks_of_torchvision(name, height, width, part):
    torch.manual_seed(0)
    settings = {"init_weights": False} if name == "googlenet" else {}
    model = with_statistics(get_model(name, weights=None, **settings))
    images = torch.randn(2, 3, height, width, dtype=torch.float64)
    sites = [site.name for site in vp.sites(model, images) if site.eligible]
    draw = random.Random(name)
    number = {"all": len(sites), "half": len(sites) // 2, "one": 1}[part]
    names = draw.sample(sites, number)
    other = torch.randn(1, 3, height + 1, width + 3, dtype=torch.float64)
    assert_fused_equals_pooled(vp.apply(model, names, images), images, other)


class Block(nn.Module):
    """A small network drawn by hypothesis: branches, poolings, kinds of convolutions."""

    def __init__(self, kinds, kernel, stride, padding_mode, groups, dilation):
        super().__init__()
        self.kinds = kinds
        channels, padding = 8, dilation * (kernel // 2)
        make = {
            "conv": lambda: nn.Conv2d(
                channels, channels, kernel, stride, padding, dilation, groups,
                padding_mode=padding_mode,
            ),
            "bare": lambda: nn.Conv2d(channels, channels, 3, bias=False),
            "single": lambda: nn.Conv2d(channels, channels, 1),
            "residual": lambda: nn.Conv2d(channels, channels, 3, padding=1),
            "dense": lambda: nn.Conv2d(channels, channels // 2, 3, padding=1),
            "expand": lambda: nn.Conv2d(channels // 2, channels // 2, 1),
            "norm": lambda: nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)
            ),
            "max": lambda: nn.MaxPool2d(2),
            "max 3": lambda: nn.MaxPool2d(3, 2, 1),
            "max ceil": lambda: nn.MaxPool2d(3, 2, ceil_mode=True),
            "mean": lambda: nn.AvgPool2d(2),
            "transposed": lambda: nn.ConvTranspose2d(channels, channels, 2, 2),
            "gate": lambda: nn.Conv2d(channels, channels, 1),
        }  # fmt: skip
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.layers = nn.ModuleList([make.get(kind, nn.Identity)() for kind in kinds])

    def forward(self, images):
        x = functional.relu(self.stem(images))
        for kind, layer in zip(self.kinds, self.layers, strict=True):
            if kind in ("conv", "bare", "single", "norm"):
                x = functional.relu_(layer(x))
            elif kind == "residual":
                x = functional.relu(x + layer(x), inplace=True)
            elif kind == "dense":
                x = torch.cat([x[:, :4], layer(x).relu()], 1)
            elif kind == "expand":
                one, other = x.chunk(2, 1)
                x = torch.cat([one, functional.silu(layer(other))], 1)
                x = functional.channel_shuffle(x, 2)
            elif kind == "gate":
                x = x * torch.sigmoid(layer(functional.adaptive_avg_pool2d(x, 1)))
            elif kind == "resize":
                x = functional.interpolate(x, scale_factor=2, mode="bilinear")
            else:
                x = layer(x)
        return x


KINDS = [
    "conv", "bare", "single", "norm", "residual", "dense", "expand", "max", "max 3", "max ceil",
    "mean", "transposed", "gate", "resize",
]  # fmt: skip


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    derandomize=True,
)
@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=6),
    kernel=st.integers(1, 7),
    stride=st.sampled_from([1, 2, 3, 4, (1, 2)]),
    padding_mode=st.sampled_from(["zeros", "zeros", "reflect", "circular", "replicate"]),
    groups=st.sampled_from([1, 2, 8]),
    dilation=st.integers(1, 2),
    height=st.integers(24, 41),
    width=st.integers(24, 41),
    part=st.randoms(use_true_random=False),
)
def test_random_networks(
    kinds, kernel, stride, padding_mode, groups, dilation, height, width, part
):
    torch.manual_seed(0)
    model = with_statistics(Block(kinds, kernel, stride, padding_mode, groups, dilation))
    images = torch.randn(2, 3, height, width, dtype=torch.float64)
    try:
        model(images)
    except (RuntimeError, ValueError):
        assume(False)  # a map has become smaller than a kernel
    sites = [site.name for site in vp.sites(model, images) if site.eligible]
    assume(sites)
    names = [name for name in sites if part.random() < 0.7] or sites[:1]
    pooled = vp.apply(model, names, images)
    assert_fused_equals_pooled(pooled, images)


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.rand(2, 3, 33, 32)


@pytest.fixture
def pooled(images):
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    ]  # fmt: skip
    return vp.apply(nn.Sequential(*layers).eval(), "all", images)


def code_of(model: Any) -> ForwardCode:
    return type(model).evaluation


def test_nothing_is_interpolated_and_the_report_says_so(pooled, images):
    fused = vp.fuse(pooled, images)
    report = report_of(fused)
    assert report is not None
    assert report.fused == ("0", "3", "6")
    assert str(report) == "3 sites fused; 0 maps are still interpolated"
    assert virtual_pool not in code_of(fused).names.values()
    assert virtual_pool in code_of(pooled).names.values()


def test_the_state_and_the_plan_stay(pooled, images):
    fused = vp.fuse(pooled, images)
    assert list(fused.state_dict()) == list(pooled.state_dict())
    assert vp.plan_of(fused) == vp.plan_of(pooled)


def test_loading_a_state_folds_anew(pooled, images):
    fused, other = vp.fuse(pooled, images), copy.deepcopy(pooled)
    with torch.no_grad():
        for value in other.state_dict().values():
            if value.is_floating_point():
                value.mul_(1.5)
        before = fused(images)
        fused.load_state_dict(other.state_dict())
        torch.testing.assert_close(fused(images), other(images))
        assert not torch.allclose(fused(images), before)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_compute_the_same(pooled, images, copied):
    fused = vp.fuse(pooled, images)
    assert torch.equal(copied(fused)(images), fused(images))


def test_fusing_twice_is_the_identity(pooled, images):
    fused = vp.fuse(pooled, images)
    again = vp.fuse(fused, images)
    assert again is not fused
    assert torch.equal(again(images), fused(images))


def test_a_model_without_virtual_pools_is_refused(images):
    with pytest.raises(vp.VirtualPoolError, match="no virtual pool, so there is nothing to fuse"):
        vp.fuse(nn.Sequential(nn.Conv2d(3, 8, 3)), images)


def test_a_model_in_training_mode_gives_one_in_eval_mode(pooled, images):
    fused = vp.fuse(pooled.train(), images)
    assert not fused.training
    assert pooled.training
    torch.testing.assert_close(fused(images), pooled.eval()(images))


def test_in_training_mode_it_computes_what_the_pooled_model_does(pooled, images):
    fused = vp.fuse(pooled, images).train()
    assert torch.equal(fused(images), pooled.train()(images))


def test_other_sizes_and_batches(pooled, images):
    fused = vp.fuse(pooled, images)
    for shape in ((1, 3, 20, 21), (5, 3, 48, 40)):
        other = torch.rand(shape)
        torch.testing.assert_close(fused(other), pooled(other))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 3e-2), (torch.float64, 1e-6)])
def test_other_precisions(pooled, images, dtype, tolerance):
    fused = vp.fuse(pooled, images).to(dtype)
    expected = pooled.double()(images.double())
    assert relative_error(fused(images.to(dtype)).double(), expected) < tolerance


def test_channels_last_is_kept(images):
    layers = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()
    model = nn.Sequential(*layers).to(memory_format=torch.channels_last)
    last = images.contiguous(memory_format=torch.channels_last)
    fused = vp.fuse(vp.apply(model, "all", last), last)
    assert fused(last).is_contiguous(memory_format=torch.channels_last)
    kernels = [buffer for buffer in fused.buffers() if buffer.ndim == 4]
    assert kernels
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


def test_it_is_exported_with_a_dynamic_batch(pooled, images):
    fused = vp.fuse(pooled, images)
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(fused, (images,), dynamic_shapes=({0: batch},))
    other = torch.rand(7, 3, 33, 32)
    torch.testing.assert_close(exported.module()(other), fused(other))


def test_it_is_traced_by_dynamo_without_a_break(pooled, images):
    fused = vp.fuse(pooled, images)
    compiled = torch.compile(fused, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(images), fused(images))


class Untraceable(nn.Module):
    """Decides by values, around a part that can be traced."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        )  # fmt: skip

    def forward(self, images):
        return self.body(images) if images.sum() > -1e9 else images


def test_a_model_that_cannot_be_traced_is_fused_in_its_parts(images):
    pooled = vp.apply(Untraceable().double().eval(), "all", images.double())
    fused = assert_fused_equals_pooled(pooled, images.double())
    report = report_of(fused)
    assert report is not None
    assert report.fused == ("body.0",)
    assert report.interpolations[0].sites == ("body.2",)
    assert report.interpolations[0].asked_by == ("output",)


@pytest.mark.parametrize(
    ("name", "size"), [("vgg11", 40), ("resnet18", 65), ("densenet121", 64), ("mobilenet_v2", 64)]
)
def test_gradients_of_training_are_the_pooled_models(name, size):
    torch.manual_seed(0)
    model = get_model(name, weights=None).double()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    images = torch.randn(4, 3, size, size, dtype=torch.float64)
    pooled = vp.apply(model, "all", images).train()
    fused = vp.fuse(pooled, images, training=True)
    assert fused.training
    for each in (pooled, fused):
        each(images).square().mean().backward()
    expected = {name: p.grad for name, p in pooled.named_parameters() if p.grad is not None}
    # Some gradients are zero but for rounding; what counts is the whole one's length.
    scale = torch.stack([gradient.norm() for gradient in expected.values()]).max()
    for name, parameter in fused.named_parameters():
        if name in expected:
            assert parameter.grad is not None
            assert (parameter.grad - expected[name]).norm() < 1e-8 * scale
    for buffer, wanted in zip(fused.buffers(), pooled.buffers(), strict=True):
        torch.testing.assert_close(buffer, wanted)
