"""What a convolution with padded borders reads: zeros beside the cells, interpolated between."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from virtualpool import virtual_pool
from virtualpool.operator.border import padded_border, padded_size

SIZES = [*itertools.product((1, 2, 3, 8, 9), (1, 4, 5)), (7, 7)]
PADDINGS = [(0, 0), (1, 1), (2, 2), (3, 0), (0, 5)]


def cells(size, dtype=torch.float64, batch=2):
    generator = torch.Generator().manual_seed(0)
    shape = batch, 3, -(-size[0] // 2), -(-size[1] // 2)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def by_its_definition(reduced, size, padding):
    """Many zeros around the cells, all of it interpolated, and cut out."""
    wide = functional.pad(reduced, (6, 6, 6, 6))
    full = virtual_pool(wide, (2 * wide.shape[-2], 2 * wide.shape[-1]))
    rows, columns = (slice(12 - p, 12 + n + p) for n, p in zip(size, padding, strict=True))
    return full[..., rows, columns]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("padding", PADDINGS, ids=str)
def test_equals_zeros_beside_the_cells_interpolated(size, padding):
    reduced = cells(size)
    result = padded_border(virtual_pool(reduced, size), padding)
    assert tuple(result.shape[-2:]) == padded_size(size, padding)
    torch.testing.assert_close(result, by_its_definition(reduced, size, padding))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_keeps_the_dtype_and_takes_every_layout(dtype, layout):
    full = virtual_pool(cells((6, 7), dtype), (6, 7)).to(memory_format=layout)
    result = padded_border(full, (1, 1))
    assert result.dtype == dtype
    assert torch.equal(result[..., 1:-2, 1:-1], full[..., :-1, :])
    assert torch.equal(result[..., 0, 1:-1], full[..., 0, :] / 2)
    assert torch.equal(result[..., -2, 1:-1], full[..., -1, :] / 2)
    assert not result[..., -1, :].any()


def test_under_autocast_and_of_no_image_at_all():
    full = virtual_pool(cells((6, 7), torch.bfloat16), (6, 7))
    with torch.autocast("cpu", torch.bfloat16):
        assert padded_border(full, (1, 1)).dtype is torch.bfloat16
    assert padded_border(full[:0], (1, 1)).shape == (0, 3, 8, 9)


def test_gradients():
    x = cells((4, 5)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: padded_border(virtual_pool(x, (4, 5)), (2, 1)), x)


class Border(nn.Module):
    def forward(self, x):
        return padded_border(x, (1, 2))


def test_a_program_of_it_takes_every_size():
    rows, columns = (torch.export.Dim(name, min=3, max=99) for name in ("rows", "columns"))
    example = (torch.rand(2, 3, 6, 7),)
    program = torch.export.export(Border(), example, dynamic_shapes=({2: rows, 3: columns},))
    for size in ((5, 8), (8, 5)):
        x = torch.rand(2, 3, *size)
        assert torch.equal(program.module()(x), Border()(x))


def test_of_some_channels_the_others_have_zeros_around():
    x = torch.rand(2, 7, 5, 6)
    found = padded_border(x, (1, 2), ((1, 3), (3, 4), (6, 7)))
    bordered, plain = padded_border(x, (1, 2)), torch.nn.functional.pad(x, (2, 2, 1, 1))
    for channel in range(7):
        expected = bordered if channel in (1, 2, 3, 6) else plain
        assert torch.equal(found[:, channel], expected[:, channel])
