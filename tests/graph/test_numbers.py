"""`int` and `float` of a size go into the graph, so that other sizes are right too."""

import builtins
import math
import sys
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import virtualpool as vp
from virtualpool.fuse import report_of

EXAMPLE = torch.rand(1, 3, 8, 8, dtype=torch.float64)
OTHERS = [torch.rand(2, 3, *size, dtype=torch.float64) for size in ((8, 8), (12, 10), (6, 14))]


def padded_as_tensorflow_does(x, convolution):
    """As MobileNetV2 of transformers pads: by the size, the stride and the kernel."""
    sides = []
    for size, stride, kernel in zip(
        reversed(x.shape[-2:]), convolution.stride, convolution.kernel_size, strict=True
    ):
        size = int(size)
        pad = max(kernel - stride, 0) if size % stride == 0 else max(kernel - size % stride, 0)
        sides += [pad // 2, pad - pad // 2]
    return functional.pad(x, sides)


def of_padding(x, convolution):
    return convolution(padded_as_tensorflow_does(x, convolution))


def of_a_size(x, convolution):
    height, width = int(x.shape[-2] / 2), int(x.shape[-1] * 0.5)
    return functional.interpolate(convolution(x), size=(height, width))


def of_a_ratio(x, convolution):
    return convolution(x) * float(x.shape[-1]) / math.sqrt(int(x.shape[-2]))


def of_a_loop(x, convolution):
    product = 1
    for size in x.shape[-2:]:
        product = product * size
    return convolution(x) * product / sum(x.shape)


def of_kinds(x, convolution):
    size = int(x.shape[-1])
    assert isinstance(size, int)
    assert isinstance(2, int)
    assert not isinstance(2.0, int)
    assert issubclass(bool, int)
    assert type(abs(-2)) == int  # noqa: E721  # as users write
    return convolution(x) * size * int("3") * int(2.5) * float("0.5") * int("11", base=2)


class Network(nn.Module):
    def __init__(self, use: Any):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.use = use

    def forward(self, images):
        return self.second(self.use(images, self.first).relu())


@pytest.mark.parametrize("use", [of_padding, of_a_size, of_a_ratio, of_a_loop, of_kinds])
def test_code_that_asks_for_the_number_of_a_size_is_pooled(use):
    torch.manual_seed(0)
    model = Network(use).double().eval()

    pooled = vp.apply(model, EXAMPLE)

    assert vp.plan_of(pooled).names == ["first", "second"]
    fused = vp.fuse(pooled, EXAMPLE)
    report = report_of(fused)
    assert report
    assert not report.left
    for images in OTHERS:
        assert model(images).shape == pooled(images).shape
        torch.testing.assert_close(fused(images), pooled(images), rtol=0, atol=1e-10)


def test_python_has_its_own_numbers_afterwards():
    vp.sites(Network(of_padding).double(), EXAMPLE)

    assert "int" not in vars(sys.modules[__name__])
    assert int is builtins.int


def test_a_number_that_the_graph_cannot_follow_leaves_the_module_whole():
    def often(x, convolution):
        for _ in range(int(x.shape[-1])):
            x = x + 1
        return convolution(x)

    sites = vp.sites(Network(often).double(), EXAMPLE)

    assert [site.eligible for site in sites] == [False, False]
    assert "cannot be traced" in (sites[0].reason or "")
