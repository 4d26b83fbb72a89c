"""`sites` on small networks, each with one thing in it that matters."""

from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.nn import functional

from virtualpool import VirtualPoolError, apply, sites


class Network(nn.Module):
    """Convolutions with 3x3 kernels and the code of a subclass."""

    names: ClassVar = ["a"]
    a: nn.Conv2d
    b: nn.Conv2d

    def __init__(self):
        super().__init__()
        for name in self.names:
            setattr(self, name, nn.Conv2d(3, 3, 3, padding=1))


class Functional(Network):
    def forward(self, x):
        return functional.max_pool2d(functional.relu(self.a(x)), 2)


class Method(Network):
    def forward(self, x):
        return self.a(x).relu_()


class Branches(Network):
    def forward(self, x):
        x = self.a(x)
        return torch.relu(x) + x


class Twice(Network):
    def forward(self, x):
        return self.a(self.a(x))


class Untraceable(Network):
    names: ClassVar = ["a"]

    def forward(self, x):
        return self.a(x) if x.sum() > 0 else x


class Unreached(Network):
    names: ClassVar = ["a", "b"]

    def forward(self, x):
        x = self.a(x)
        return (x, self.b(x)) if self.training else x


class Gate(Network):
    def forward(self, x):
        return x * torch.sigmoid(self.a(x.mean((2, 3), keepdim=True)))


class Swish(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


class SamePadding(nn.Conv2d):
    """Pads by its stride, as TensorFlow does."""

    def forward(self, input):
        pad = max(0, self.kernel_size[0] - self.stride[0])
        return super().forward(functional.pad(input, (pad // 2, pad - pad // 2) * 2))


def rounded(module, given, out):
    return (out * 16).round() / 16


def hooked(layer):
    layer.register_forward_hook(rounded)
    return layer


class Standardised(nn.Conv2d):
    def forward(self, input):
        return self._conv_forward(input, self.weight - self.weight.mean(), self.bias)


def conv(**options):
    return nn.Conv2d(3, 3, 3, padding=1, **options)


def shared():
    layer = conv()
    return nn.Sequential(layer, nn.ReLU(), layer)


ACTIVATION, NORM, CONV = "activation", "norm", "conv"
CASES = [
    (lambda: nn.Sequential(conv(), nn.ReLU()), [("0", ACTIVATION, False, None)]),
    (
        lambda: nn.Sequential(conv(), nn.BatchNorm2d(3), nn.ReLU6()),
        [("0", ACTIVATION, False, None)],
    ),
    (lambda: nn.Sequential(conv(), nn.BatchNorm2d(3)), [("0", NORM, False, None)]),
    (lambda: nn.Sequential(conv(), Swish()), [("0", ACTIVATION, False, None)]),
    (
        lambda: nn.Sequential(conv(), nn.ReLU(), nn.Dropout(), nn.AvgPool2d(2)),
        [("0", ACTIVATION, True, None)],
    ),
    (lambda: nn.Sequential(conv(stride=3)), [("0", CONV, False, None)]),
    (Functional, [("a", ACTIVATION, True, None)]),
    (Method, [("a", ACTIVATION, False, None)]),
    (Branches, [("a", CONV, False, None)]),
    (Twice, [("a", CONV, False, "used twice")]),
    (Untraceable, [("a", CONV, False, "which cannot be traced")]),
    (Unreached, [("a", CONV, False, None), ("b", CONV, False, "not reached")]),
    (Gate, [("a", ACTIVATION, False, "its output has one row")]),
    (lambda: nn.Sequential(SamePadding(3, 3, 3)), [("0", CONV, False, "gives other samples")]),
    (lambda: nn.Sequential(Standardised(3, 3, 3)), [("0", CONV, False, None)]),
    # As quantisation-aware ones have.
    (lambda: nn.Sequential(hooked(Standardised(3, 3, 3))), [("0", CONV, False, None)]),
    (lambda: nn.Sequential(hooked(conv()), nn.ReLU()), [("0", ACTIVATION, False, None)]),
    (
        lambda: nn.Sequential(hooked(SamePadding(3, 3, 3))),
        [("0", CONV, False, "gives other samples")],
    ),
    (
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(conv())),
        [("0", CONV, False, None)],
    ),
    (
        lambda: nn.Sequential(nn.ConvTranspose2d(3, 3, 2)),
        [("0", CONV, False, "a ConvTranspose2d, not a two-dimensional convolution")],
    ),
    (shared, [("0", None, False, "several names (0, 2)")]),
]


@pytest.mark.parametrize(("make", "expected"), CASES)
def test_sites_of(make, expected):
    network = make().eval()
    found = sites(network, torch.ones(1, 3, 16, 16))
    assert [site.name for site in found] == [name for name, *_ in expected]
    for site, (_, follows, before_pool, reason) in zip(found, expected, strict=True):
        assert follows is None or site.follows == follows
        assert site.before_pool == before_pool
        assert site.eligible == (reason is None)
        assert site.reason is None if reason is None else reason in (site.reason or "")


def test_numbers_of_a_site():
    network = nn.Sequential(nn.Conv2d(6, 8, (3, 5), (2, 1), (1, 2), groups=2))
    (site,) = sites(network, torch.zeros(4, 6, 16, 10))
    assert (site.kernel, site.stride) == ((3, 5), (2, 1))
    assert (site.in_shape, site.out_shape) == ((4, 6, 16, 10), (4, 8, 8, 10))
    assert site.macs == 8 * 3 * 3 * 5 * 8 * 10


def test_a_pooled_site_says_so_with_its_own_stride():
    network = nn.Sequential(conv(), nn.ReLU())
    (before,) = sites(network, torch.zeros(1, 3, 16, 15))
    (after,) = sites(apply(network, torch.zeros(1, 3, 16, 15), "all"), torch.zeros(1, 3, 16, 15))
    assert (after.stride, after.out_shape, after.follows) == (
        before.stride,
        before.out_shape,
        before.follows,
    )
    assert (after.eligible, after.reason) == (False, "already pooled")
    assert after.macs * 4 == before.macs // 15 * 16


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: {"weight": 1}, "torch.nn.Module is expected, not a dict"),
        (lambda: conv, "not a function; call it"),
        (lambda: nn.Sequential(nn.LazyConv2d(3, 3)), "lazy"),
        (lambda: nn.Sequential(conv()).to("meta"), "0.weight is on the meta device"),
        (lambda: nn.DataParallel(nn.Sequential(conv())), "wrapped in DataParallel"),
        (lambda: torch.compile(nn.Sequential(conv())), "wrapped in OptimizedModule"),
        (lambda: nn.Sequential(nn.Linear(7, 7)), r"does not run .*\(1, 3, 16, 16\)"),
    ],
)
def test_what_cannot_be_listed_is_refused(make, message):
    with pytest.raises(VirtualPoolError, match=message):
        sites(make(), torch.zeros(1, 3, 16, 16))


@pytest.mark.parametrize(
    "inputs",
    [torch.zeros(1, 3, 16, 16), (torch.zeros(1, 3, 16, 16),), {"input": torch.zeros(1, 3, 16, 16)}],
)
def test_inputs_in_every_form(inputs):
    assert [site.eligible for site in sites(nn.Sequential(conv()), inputs)] == [True]


class OfAList(Network):
    def forward(self, images, targets=None):
        if targets is not None:
            raise ValueError("not in evaluation")
        return {"out": torch.relu(self.a(torch.stack(images)))}


def test_a_list_as_the_only_argument():
    images = [torch.rand(3, 12, 12), torch.rand(3, 12, 12)]
    network = OfAList()
    assert [site.follows for site in sites(network, images)] == [ACTIVATION]
    assert apply(network, images, "all")(images)["out"].shape == (2, 3, 12, 12)


@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv2d, nn.Conv3d])
def test_a_geometry_that_is_set_to_an_int(kind):
    convolution = kind(3, 4, 3, padding=1)
    convolution.stride, convolution.padding, convolution.dilation = 2, 1, 1
    model, axes = nn.Sequential(convolution), convolution.weight.dim() - 2
    [site] = sites(model, torch.zeros(1, 3, *[8] * axes))
    assert (site.stride, site.kernel) == ((2,) * axes, (3,) * axes)
    assert site.eligible is (axes == 2)
