import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.bound.exact import norms
from virtualpool.bound.norms import averaging_gain, convolution_norm, matrix_norm, repetitions

# Kernel, stride, dilation, groups; with them the padding that keeps most of a map.
CONVOLUTIONS = [
    ((1, 1), (1, 1), (1, 1), 1),
    ((3, 3), (1, 1), (1, 1), 1),
    ((3, 3), (2, 2), (1, 1), 1),
    ((3, 3), (1, 1), (2, 2), 1),
    ((3, 2), (2, 3), (3, 2), 1),
    ((5, 1), (1, 2), (1, 1), 2),
    ((4, 4), (4, 4), (1, 1), 1),
    ((3, 3), (1, 1), (1, 1), 4),
    ((2, 3), (3, 1), (1, 2), 1),
]


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_of_a_matrix(shape, dtype):
    given = torch.randn(shape, dtype=dtype)
    expected = torch.linalg.svdvals(given.double())[0].item()
    assert matrix_norm(given) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("kernel", "stride", "dilation", "groups"), CONVOLUTIONS)
@pytest.mark.parametrize("padded", [False, True])
def test_of_a_convolution(kernel, stride, dilation, groups, padded):
    weight = torch.randn(4, 4 // groups, *kernel, dtype=torch.float64)
    padding = [d * (k - 1) // 2 if padded else 0 for k, d in zip(kernel, dilation, strict=True)]
    bound = convolution_norm(weight, stride, dilation, groups)

    def convolved(x):
        return functional.conv2d(x, weight, None, stride, padding, dilation, groups)

    exact = [norms(convolved, torch.zeros(1, 4, size, size))[1] for size in (7, 8)]
    assert max(exact) <= bound * (1 + 1e-12)
    if padded:
        assert bound <= 1.25 * max(exact)


def test_of_a_convolution_is_near_that_without_border():
    weight = torch.zeros(1, 1, 3, 3)
    weight[..., 0, 0], weight[..., 2, 2] = 1.0, -1.0  # at most 2, between samples or not
    assert 2 <= convolution_norm(weight) <= 2 / math.cos(math.pi / 16) * (1 + 1e-12)


@pytest.mark.parametrize(("kernel", "seed"), [(3, 0), (3, 1), (5, 2)])
def test_the_samples_find_peaks_between_them(kernel, seed):
    torch.manual_seed(seed)
    weight = torch.randn(2, 3, kernel, kernel, dtype=torch.float64)
    symbol = torch.fft.fft2(weight, s=(64, 64)).permute(2, 3, 0, 1)
    finely_sampled = torch.linalg.svdvals(symbol).max().item()
    assert finely_sampled <= convolution_norm(weight) <= 1.03 * finely_sampled


@pytest.mark.parametrize(
    ("sides", "mode", "expected"),
    [
        ((1, 1, 1, 1), "constant", 1),
        ((1, 1, 1, 1), "circular", 4),
        ((2, 0, 0, 0), "reflect", 2),
        ((3, 3, 2, 0), "replicate", 12),
    ],
)
def test_repetitions(sides, mode, expected):
    assert repetitions(lambda x: functional.pad(x, sides, mode=mode), (4, 5)) == expected


@pytest.mark.parametrize(
    ("operation", "is_exact"),
    [
        (nn.AvgPool2d(2), True),
        (nn.AvgPool2d(3, 1, 1), False),
        (nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), False),
        (nn.AdaptiveAvgPool2d((2, 4)), False),
        (lambda x: x.mean((2, 3)), True),
        (lambda x: x.expand(3, -1, -1, -1), True),
        (lambda x: functional.pad(x, (1, 2, 0, 1), value=3.0), True),
        (lambda x: functional.interpolate(x, scale_factor=2.0), True),
        (lambda x: functional.interpolate(x, (11, 5), mode="bilinear"), False),
    ],
)
def test_of_averages(operation, is_exact):
    example = torch.zeros(1, 2, 6, 7, dtype=torch.float64)
    gain, (largest, norm) = averaging_gain(operation, example), norms(operation, example)
    assert gain.largest == pytest.approx(largest)
    assert norm <= gain.norm * (1 + 1e-12)
    if is_exact:
        assert gain.norm == pytest.approx(norm)


def test_averages_of_several_results():
    gain = averaging_gain(lambda x: [x[:, :1], x[:, :2], 3 * x[:, 1:]], torch.zeros(1, 3, 4, 4))
    assert (gain.largest, gain.norm) == (3.0, pytest.approx(math.sqrt(3 * 4)))
