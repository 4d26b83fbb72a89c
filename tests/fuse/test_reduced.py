"""Operations on reduced maps against the same on the full map."""

import pytest
import torch
from torch.nn import functional

from virtualpool.fuse import reduced as on_reduced
from virtualpool.fuse.borders import extended
from virtualpool.fuse.folding import Axis, axes, fold, fold_rows
from virtualpool.fuse.sizes import window_size
from virtualpool.pool import virtual_pool

SIZES = [(1, 1), (2, 3), (5, 8), (8, 5), (12, 13)]


def reduced_map(size: tuple[int, int]) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(2, 4, (size[0] + 1) // 2, (size[1] + 1) // 2, dtype=torch.float64)


@pytest.mark.parametrize("size", SIZES[1:])
@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (2, 4), (3, 2), (3, 4)])
def test_max_pool(size, kernel, stride):
    map = reduced_map(size)
    given = on_reduced.max_pool(map, size, kernel, stride)
    expected = functional.max_pool2d(virtual_pool(map, size), kernel, stride, kernel // 3)
    torch.testing.assert_close(given, expected)


@pytest.mark.parametrize("size", SIZES[1:])
@pytest.mark.parametrize("stride", [2, 4])
def test_average_pool(size, stride):
    map = reduced_map(size)
    expected = functional.avg_pool2d(virtual_pool(map, size), 2, stride)
    torch.testing.assert_close(on_reduced.average_pool(map, size, stride), expected)


@pytest.mark.parametrize("size", SIZES)
def test_mean(size):
    map = reduced_map(size)
    expected = virtual_pool(map, size).mean((2, 3), keepdim=True)
    torch.testing.assert_close(on_reduced.mean(map, size), expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("taps", range(1, 8))
@pytest.mark.parametrize("padding", range(4))
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_mended_convolution(size, taps, padding, dilation):
    map, both = reduced_map(size), (padding, padding)
    outputs = window_size(size, (taps, taps), (2, 2), (2 * padding,) * 2, (dilation,) * 2)
    if min(outputs) < 1 or padding > dilation * (taps - 1):
        pytest.skip("no such convolution")
    weight = torch.randn(6, 4, taps, taps, dtype=torch.float64)
    bias = torch.randn(6, dtype=torch.float64)
    geometry = both, (dilation, dilation)
    weights = fold(weight, *geometry), fold_rows(weight, *geometry), weight
    given = on_reduced.mended_convolution(map, size, outputs, weights, bias, (1, 1), *geometry, 1)
    full = virtual_pool(map, size)
    expected = torch.conv2d(full, weight, bias, 2, padding, dilation)
    torch.testing.assert_close(given, expected)


@pytest.mark.parametrize("taps", range(1, 8))
@pytest.mark.parametrize("padding", range(4))
def test_fold_is_the_kernel_times_the_interpolation(taps, padding):
    """In the interior, a folded kernel gives what the kernel gives on the interpolated map."""
    kernel = torch.randn(3, 2, taps, taps, dtype=torch.float64)
    cells = torch.randn(1, 2, 24, 24, dtype=torch.float64)
    rows, _ = axes((taps, taps), (padding, padding), (1, 1))
    folded = fold(kernel, (padding, padding), (1, 1))
    full = virtual_pool(cells, (48, 48))
    expected = torch.conv2d(full, kernel, None, 2, padding)[..., 4:16, 4:16]
    given = torch.conv2d(cells, folded)[..., 4 - rows.before :, 4 - rows.before :][..., :12, :12]
    torch.testing.assert_close(given, expected)


@pytest.mark.parametrize(
    ("axis", "exact", "skips_odd", "before", "cells"),
    [
        (Axis(1, 0, 1), True, True, 0, 1),
        (Axis(3, 1, 1), True, False, 1, 3),
        (Axis(3, 0, 1), True, False, 0, 2),
        (Axis(5, 2, 1), False, False, 1, 3),
        (Axis(7, 3, 1), False, False, 2, 5),
        (Axis(3, 2, 2), False, True, 1, 3),
        (Axis(4, 1, 1), False, False, 1, 3),
    ],
)
def test_axes(axis, exact, skips_odd, before, cells):
    found = axis.is_exact_when_extended, axis.skips_odd, axis.before, axis.cells
    assert found == (exact, skips_odd, before, cells)


@pytest.mark.parametrize("size", SIZES[1:])
def test_extended_makes_the_virtual_padding_zero(size):
    map = reduced_map(size)
    frame = extended(map, size, (1, 1), (1, 1))
    virtual = virtual_pool(frame, (2 * frame.shape[2] - 1, 2 * frame.shape[3] - 1))
    expected = functional.pad(virtual_pool(map, size), (1, 1, 1, 1))
    # Beyond an even end one position is known; beyond an odd one, too.
    rows, columns = size[0] + 1 + size[0] % 2, size[1] + 1 + size[1] % 2
    torch.testing.assert_close(
        virtual[..., 1 : 1 + rows, 1 : 1 + columns], expected[..., :rows, :columns]
    )
