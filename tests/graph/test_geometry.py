import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from virtualpool.graph.geometry import (
    double_stride,
    keeps_samples,
    runs_as_conv2d,
    size_arguments,
)
from virtualpool.operator.pool import output_size

CONVOLUTIONS = [
    {"kernel_size": 1},
    {"kernel_size": 3},
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "padding": 1, "stride": 2},
    {"kernel_size": 3, "padding": 1, "stride": 3},
    {"kernel_size": 3, "padding": 1, "stride": (1, 2)},
    {"kernel_size": 5, "padding": 2},
    {"kernel_size": 4, "padding": 1},
    {"kernel_size": 2, "stride": 2},
    {"kernel_size": (3, 5), "padding": (0, 2)},
    {"kernel_size": 3, "padding": 2, "dilation": 2},
    {"kernel_size": 3, "padding": (2, 3), "dilation": (2, 3)},
    {"kernel_size": 3, "padding": 1, "groups": 2},
    {"kernel_size": 3, "padding": 1, "groups": 4, "bias": False},
    {"kernel_size": 3, "padding": "valid"},
    *(
        {"kernel_size": kernel, "padding": padding, "padding_mode": mode}
        for kernel, padding in [(3, "same"), (3, 1), (4, "same"), ((2, 5), "same")]
        for mode in ["zeros", "reflect", "replicate", "circular"]
    ),
    {"kernel_size": 3, "padding": "same", "dilation": 2},
    {"kernel_size": 4, "padding": "same", "dilation": 3},
]
"""Every kind of convolution, with 4 input channels."""

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")


@pytest.mark.parametrize("size", [(12, 12), (13, 12), (11, 18)])
@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
def test_a_doubled_stride_gives_the_even_positions(options, size):
    convolution = nn.Conv2d(4, 4, **options, dtype=torch.float64)
    map = torch.rand(2, 4, *size, dtype=torch.float64)
    full = convolution(map)
    assert output_size(map, *size_arguments(convolution)) == tuple(full.shape[2:])

    doubled = copy.deepcopy(convolution)
    double_stride(doubled)
    assert doubled.stride == tuple(2 * steps for steps in convolution.stride)
    torch.testing.assert_close(doubled(map), full[..., ::2, ::2])
    # From the doubled convolution, the size is the old one.
    assert output_size(map, *size_arguments(doubled, is_pooled=True)) == tuple(full.shape[2:])


CHANGED = {
    "padding": ({"kernel_size": 3}, {"padding": (2, 1)}),
    "padding, an int": ({"kernel_size": 3, "padding": 2}, {"padding": 1}),
    "padding, a list of one": ({"kernel_size": 3}, {"padding": [1]}),
    "padding, same": ({"kernel_size": (4, 3)}, {"padding": "same"}),
    "padding, valid": ({"kernel_size": 3, "padding": 1}, {"padding": "valid"}),
    "padding of a mirrored one, which has no effect": (
        {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
        {"padding": 3},
    ),
    "padding mode": ({"kernel_size": 3, "padding": 1}, {"padding": 2, "padding_mode": "circular"}),
    "from a padding mode": (
        {"kernel_size": 3, "padding": 1, "padding_mode": "replicate"},
        {"padding": (0, 2), "padding_mode": "zeros"},
    ),
    "stride, an int": ({"kernel_size": 3, "stride": 2}, {"stride": 1}),
    "dilation, an int": ({"kernel_size": 3, "padding": 1}, {"dilation": 2}),
    "dilation and padding": ({"kernel_size": 3}, {"dilation": (2, 3), "padding": [2, 3]}),
    "dilation, padded to the same size": (
        {"kernel_size": 3, "padding": "same"},
        {"dilation": (3, 1)},
    ),
    "dilation, padded unequally": ({"kernel_size": 4, "padding": "same"}, {"dilation": 3}),
    "groups": ({"kernel_size": 3, "groups": 4}, {"groups": 2, "padding": 1}),
}
"""How a convolution is built, and which attributes are set later."""


@pytest.mark.parametrize("size", [(12, 13), (11, 18)])
@pytest.mark.parametrize(("options", "later"), CHANGED.values(), ids=CHANGED)
def test_attributes_changed_on_a_built_convolution(options, later, size):
    convolution = nn.Conv2d(4, 4, **options, dtype=torch.float64)
    for name, value in later.items():
        setattr(convolution, name, value)
    if later.get("groups") == 2:
        convolution.weight = nn.Parameter(torch.rand(4, 2, 3, 3, dtype=torch.float64))
    check_doubled(convolution, size)


def test_a_weight_of_another_shape():
    for padding in (0, (2, 1), "same"):
        convolution = nn.Conv2d(4, 4, 3, padding=padding, dtype=torch.float64)
        convolution.weight = nn.Parameter(torch.rand(4, 4, 5, 2, dtype=torch.float64))
        check_doubled(convolution, (12, 13))


def check_doubled(convolution: nn.Conv2d, size: tuple[int, int]) -> None:
    x = torch.rand(2, 4, *size, dtype=torch.float64)
    full = convolution(x)
    assert output_size(x, *size_arguments(convolution)) == tuple(full.shape[2:])
    doubled = copy.deepcopy(convolution)
    double_stride(doubled)
    torch.testing.assert_close(doubled(x), full[..., ::2, ::2])


def test_a_subclass_that_pads_by_its_stride_below_forward():
    class Below(nn.Conv2d):
        def _conv_forward(self, input, weight, bias):
            return super()._conv_forward(
                functional.pad(input, (0, self.stride[0] - 1)), weight, bias
            )

    convolution, x = Below(4, 4, 3), torch.rand(1, 4, 12, 12)
    assert not runs_as_conv2d(convolution)
    assert not keeps_samples(convolution, x, convolution(x))


class PadsByStride(nn.Conv2d):
    """As TensorFlow's padding "same" does."""

    def forward(self, input):
        pad = max(0, self.kernel_size[0] - self.stride[0])
        return super().forward(functional.pad(input, (pad // 2, pad - pad // 2) * 2))


class PadsMore(nn.Conv2d):
    """Its samples would stay, but not its size."""

    def forward(self, input):
        return super().forward(functional.pad(input, (0, 2, 0, 2)))


class Standardised(nn.Conv2d):
    def forward(self, input):
        weight = (self.weight - self.weight.mean()) / self.weight.std()
        return self._conv_forward(input, weight, self.bias)


class IgnoresStride(nn.Conv2d):
    def forward(self, input):
        return functional.conv2d(input, self.weight, self.bias, padding=1)


DERIVED = {
    "as it is": (nn.Conv2d(4, 4, 3), True),
    "standardises": (Standardised(4, 4, 3, padding=1), True),
    "standardises, stride 2": (Standardised(4, 4, 3, stride=2), True),
    "parametrised": (nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3)), True),
    "pads by its stride": (PadsByStride(4, 4, 3), False),
    "pads more than it says": (PadsMore(4, 4, 3), False),
    "ignores its stride": (IgnoresStride(4, 4, 3), False),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(("convolution", "expected"), DERIVED.values(), ids=DERIVED)
def test_keeps_samples(convolution, expected, dtype):
    convolution = copy.deepcopy(convolution).to(dtype)
    stride = convolution.stride
    # Many values and large ones: another stride may round them otherwise.
    map = 100 * torch.randn(2, 4, 33, 40, dtype=dtype)
    assert keeps_samples(convolution, map, convolution(map)) is expected
    assert convolution.stride == stride
    assert keeps_samples(convolution, map[:0], convolution(map[:0])) in (expected, True)
