"""Computed sizes, against the operations' own."""

import pytest
import torch
from torch.nn import functional

from virtualpool.fuse.questions.sizes import even_positions, size_of
from virtualpool.operator.pool import window_size


@pytest.mark.parametrize("size", [(7, 9), (12, 11)])
@pytest.mark.parametrize("kernel", [(1, 1), (2, 3), (4, 2)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (3, 4)])
@pytest.mark.parametrize("padding", [(0, 0), (1, 2)])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 1)])
def test_windows(size, kernel, stride, padding, dilation):
    map = torch.zeros(1, 1, *size)
    out = functional.conv2d(map, torch.zeros(1, 1, *kernel), None, stride, padding, dilation)
    both = (2 * padding[0], 2 * padding[1])
    assert window_size(size, kernel, stride, both, dilation) == size_of(out) == out.shape[2:]


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (7, 8), (8, 7)])
def test_even_positions(size):
    map = torch.rand(2, 3, *size)
    expected = [[map[..., y, x] for x in range(0, size[1], 2)] for y in range(0, size[0], 2)]
    even = even_positions(map)
    assert size_of(even) == (len(expected), len(expected[0]))
    assert torch.equal(even, torch.stack([torch.stack(row, -1) for row in expected], -2))
