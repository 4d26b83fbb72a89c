"""Batch norms that are folded, and convolutions that only seem plain."""

from typing import Any

import pytest
import torch
from tests.fuse.checks import assert_same, fused_alike, images, pooled_and_fused, run
from tests.fuse.networks import with_statistics
from tests.norms import with_values
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune
from torchvision.ops import FrozenBatchNorm2d

from virtualpool.fuse.passes.convolutions import norm_scale, scaled_weight, shifted_bias


def norm(**options) -> nn.BatchNorm2d:
    return with_statistics(nn.BatchNorm2d(4, eps=1e-2, **options))


def chain(*middle: nn.Module, **options) -> Any:
    """Two sites, with the modules under test behind the first one."""
    torch.manual_seed(0)
    first = nn.Conv2d(3, 4, 3, padding=1, **options)
    last = nn.Conv2d(4, 4, 3, stride=2, padding=1)
    return nn.Sequential(first, *middle, last).double().eval()


def names_of_modules(fused: Any) -> str:
    return fused.evaluation.source


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_a_batch_norm_disappears_in_the_convolution(bias, affine):
    model = chain(norm(affine=affine), nn.ReLU(), bias=bias)
    report = fused_alike(model, images(), others=[images(9, 9)])
    assert "0" in report.fused
    _, fused, _ = pooled_and_fused(model, images())
    assert 'getattr(self, "1")' not in names_of_modules(fused)


class Uses(nn.Module):
    """A convolution of which more is wanted than its batch norm, and one that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.shared = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, 2, 1)
        self.norm, self.other = norm(), norm()

    def forward(self, x):
        value = self.conv(x)
        value = self.norm(value) + value
        return self.other(self.shared(value)) + self.norm(self.shared(value * value))


def test_modules_that_are_used_twice():
    fused_alike(Uses().double().eval(), images(), others=[images(9, 8)])


def doubled(module: nn.Module, arguments: Any, out: torch.Tensor) -> torch.Tensor:
    return out * 2


def hooked(module: nn.Module) -> nn.Module:
    module.register_forward_hook(doubled)
    return module


class Standardized(nn.Conv2d):
    """Changes its weight at every call, though its `forward` is `nn.Conv2d`'s."""

    def _conv_forward(self, input, weight, bias):
        return super()._conv_forward(input, weight - weight.mean((1, 2, 3), keepdim=True), bias)


class Own(nn.BatchNorm2d):
    """Does more than its name says."""

    def forward(self, input):
        return super().forward(input) + input.mean((2, 3), keepdim=True)


LAYERS = {
    "frozen, as in torchvision's detectors": lambda: with_values(FrozenBatchNorm2d(4)),
    "without statistics": lambda: nn.BatchNorm2d(4, track_running_stats=False),
    "with a hook": lambda: hooked(norm()),
    "with a forward of its own": lambda: with_statistics(Own(4)),
    "instance norm": lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
    "activation with a hook": lambda: hooked(nn.ReLU(inplace=True)),
    "standardized weights": lambda: Standardized(4, 4, 3, 2, 1),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Conv2d(4, 4, 3, padding=1)),
    "weight norm": lambda: parametrizations.weight_norm(nn.Conv2d(4, 4, 3, padding=1)),
    "convolution with a hook": lambda: hooked(nn.Conv2d(4, 4, 3, padding=1)),
    "pruned": lambda: prune.random_unstructured(nn.Conv2d(4, 4, 3, padding=1), "weight", 0.5),
    "same padding": lambda: nn.Conv2d(4, 4, 3, padding="same"),
    "mirrored": lambda: nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
}


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_layers_that_are_not_what_they_seem(layer):
    torch.manual_seed(1)
    model = chain(layer(), nn.ReLU())
    run(model, images())  # a pruned one can be copied only then
    fused_alike(model, images(), others=[images(9, 9)])


def test_a_module_whose_forward_was_replaced():
    model = chain(norm(), nn.ReLU(), nn.Conv2d(4, 4, 1, stride=2))
    for place, factor in ((1, 3), (2, -1), (3, 2)):
        forward = model[place].forward
        model[place].forward = lambda x, forward=forward, factor=factor: forward(x) * factor
    pooled, fused, _ = pooled_and_fused(model, images(), ["0"])
    assert_same(run(fused, images()), run(pooled, images()))


class Functions(nn.Module):
    """Convolutions written as functions, in several ways."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.weight = nn.Parameter(torch.randn(4, 4, 3, 3))
        self.bias = nn.Parameter(torch.randn(4))
        self.norm = norm()

    def forward(self, x):
        x = self.norm(functional.conv2d(self.first(x).relu(), self.weight, stride=2, padding=1))
        x = functional.conv2d(x, self.weight * 2, self.bias, 2, padding="valid")
        return functional.conv2d(input=x, weight=self.weight, bias=self.bias, padding=(1, 2))


def test_convolutions_that_are_functions():
    report = fused_alike(Functions().double().eval(), images(20, 21), others=[images(18, 30)])
    assert report.fused == ("first",)


class Unbatched(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, 2, 1)

    def forward(self, x):
        return self.last(self.first(x).relu()[0])


def test_a_convolution_of_a_map_without_a_batch():
    fused_alike(Unbatched().double().eval(), images())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_norm_of_another_dtype_than_the_convolution(dtype):
    model = chain(norm(), nn.ReLU())
    model.to(dtype)
    model[1].float()
    pooled, fused, _ = pooled_and_fused(model, images().to(dtype))
    torch.testing.assert_close(
        run(fused, images().to(dtype)), run(pooled, images().to(dtype)), rtol=0.05, atol=0.05
    )


def test_what_is_folded_is_rounded_to_the_dtype_of_the_weight_alone():
    weight, variance = torch.randn(4, 3, 3, 3).half(), torch.rand(4).half() + 0.5
    scale = norm_scale(None, variance, 1e-5)
    assert scale.dtype == torch.float32
    exact = weight.double() / (variance.double() + 1e-5).sqrt().view(-1, 1, 1, 1)
    assert torch.equal(scaled_weight(weight, scale), exact.half())
    mean = torch.rand(4)
    shifted = shifted_bias(None, scale, mean, None, weight)
    torch.testing.assert_close(shifted, (-mean * scale).half())


class Padded(nn.Module):
    """A function that pads, between a site and a convolution that reads it."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.site, self.reads = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, 2)
        self.options = options

    def forward(self, x):
        return self.reads(functional.pad(self.site(x).relu(), **self.options))


MERGED = [
    chain(nn.ReLU(), nn.ZeroPad2d(1)),
    chain(nn.ReLU(), nn.ZeroPad2d((2, 2, 1, 1))),
    chain(nn.ReLU(), nn.ConstantPad2d(1, 0.0)),
    Padded(pad=(1, 1, 1, 1)),
    Padded(pad=[1, 1, 0, 0], value=0),
]
APART = [
    chain(nn.ReLU(), nn.ZeroPad2d((0, 1, 0, 1))),
    chain(nn.ReLU(), nn.ConstantPad2d(1, 0.5)),
    chain(nn.ReLU(), nn.ReflectionPad2d(1)),
    chain(nn.ReLU(), nn.ZeroPad2d(-1)),
    Padded(pad=(1, 1)),
    Padded(pad=(1, 1, 1, 1), mode="replicate"),
]


@pytest.mark.parametrize("model", MERGED, ids=lambda model: str(model)[-60:])
def test_zeros_that_are_added_before_become_padding(model):
    model = model.double().eval()
    names = ["0" if isinstance(model, nn.Sequential) else "site"]
    report = fused_alike(model, images(20, 21), names, others=[images(16, 17)])
    assert report.fused == tuple(names)


@pytest.mark.parametrize("model", MERGED, ids=lambda model: str(model)[-60:])
def test_zeros_become_the_padding_of_a_site_whose_map_is_recovered(model):
    report = fused_alike(model.double().eval(), images(20, 21), "all", others=[images(16, 17)])
    assert report.fused == ("0" if isinstance(model, nn.Sequential) else "site",)


@pytest.mark.parametrize("model", APART, ids=lambda model: str(model)[-60:])
def test_what_is_no_padding_of_a_convolution_stays(model):
    model = model.double().eval()
    names = ["0" if isinstance(model, nn.Sequential) else "site"]
    report = fused_alike(model, images(20, 21), names, others=[images(16, 17)])
    assert report.fused == ()


def reading(**later: Any) -> Any:
    """A site, and its reader, whose attributes are set when it is built already."""
    model = chain(nn.ReLU())
    for name, value in later.items():
        setattr(model[-1], name, value)
    return model


CHANGED = [
    reading(stride=(1, 1), dilation=(2, 2), padding=(2, 2)),
    reading(padding=(0, 2)),
    reading(padding=[3, 1], dilation=3),
    reading(stride=1),
    reading(stride=[4], padding=[1]),
    reading(padding=0, stride=2, dilation=1),
    reading(stride=1, padding="same", dilation=(1, 2)),
    reading(padding="valid"),
    reading(padding=3, padding_mode="reflect"),
    reading(groups=2, weight=nn.Parameter(torch.randn(4, 2, 3, 3))),
    reading(weight=nn.Parameter(torch.randn(4, 4, 5, 2)), padding=(2, 0)),
]


@pytest.mark.parametrize("names", [["0"], ["2"], "all"], ids=str)
@pytest.mark.parametrize("model", CHANGED)
def test_attributes_that_were_set_on_a_built_network(model, names):
    fused_alike(model.double(), images(20, 21), names, others=[images(17, 16)])


class Blur(nn.Module):
    """Takes its groups from the map that it reads."""

    kernel: torch.Tensor

    def __init__(self, groups: Any, *, pads: bool) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer("kernel", (taps[:, None] * taps / 16).repeat(4, 1, 1, 1))
        self.groups, self.pads = groups, pads

    def forward(self, x):
        if self.pads:
            x = functional.pad(x, (1, 1, 1, 1))
        return functional.conv2d(x, self.kernel, None, 2, 1, groups=self.groups(x))


@pytest.mark.parametrize("pads", [True, False])
@pytest.mark.parametrize(
    "groups", [lambda x: x.shape[1], lambda x: x.size(1), lambda x: x.size()[-3], lambda x: 4]
)
def test_groups_that_are_computed_of_a_map(groups, pads):
    model = chain(nn.ReLU(), Blur(groups, pads=pads), nn.ReLU())
    report = fused_alike(model, images(20, 21), others=[images(17, 16)])
    assert "0" in report.fused
    assert all("0" not in each.sites for each in report.interpolations)
