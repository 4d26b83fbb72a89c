"""Folded kernels against the dense matrix of the operator that they stand for."""

import itertools

import pytest
import torch
from tests.reference import recovered
from torch import Tensor
from torch.nn import functional

from virtualpool.fuse.kernels.borders import extended
from virtualpool.fuse.kernels.folding import Axis, axes, fold

AXES = [Axis(*case) for case in itertools.product(range(1, 8), range(5), range(1, 4))]


def weights(taps: int) -> Tensor:
    return torch.linspace(1, 2, taps, dtype=torch.float64).sin().view(1, 1, 1, taps)


def lengths(axis: Axis) -> range:
    """Maps from the smallest that the kernel fits in."""
    smallest = max(axis.dilation * (axis.taps - 1) + 1 - 2 * axis.padding, 1)
    return range(smallest, smallest + 10)


def full_matrix(axis: Axis, length: int, stride: int) -> Tensor:
    """The outputs (columns) for a one at each cell (rows), by interpolating."""
    cells = (length + 1) // 2
    one_at_each = torch.eye(cells, dtype=torch.float64).view(cells, 1, 1, cells)
    full = recovered(one_at_each, (1, length))
    geometry = (1, stride), (0, axis.padding), (1, axis.dilation)
    return functional.conv2d(full, weights(axis.taps), None, *geometry).flatten(1)


def folded_matrix(axis: Axis, length: int, stride: int) -> Tensor:
    """The same on cells that are extended on both sides, by the folded kernel."""
    outputs = (length + 2 * axis.padding - axis.dilation * (axis.taps - 1) - 1) // stride + 1
    cells = (length + 1) // 2
    one_at_each = torch.eye(cells, dtype=torch.float64).view(cells, 1, 1, cells)
    kernel = fold(weights(axis.taps), (0, axis.padding), (1, axis.dilation))
    after = (outputs - 1) * stride // 2 + axis.cells - axis.before - cells
    frame = extended(one_at_each, (1, length), (0, axis.before), (0, after))
    return functional.conv2d(frame, kernel, None, (1, stride // 2)).flatten(1)


@pytest.mark.parametrize("stride", [2, 4])
@pytest.mark.parametrize("axis", [axis for axis in AXES if axis.is_exact_when_extended], ids=str)
def test_where_it_is_said_to_be_exact_it_is(axis, stride):
    for length in lengths(axis):
        full, folded = full_matrix(axis, length, stride), folded_matrix(axis, length, stride)
        torch.testing.assert_close(folded, full, rtol=0, atol=1e-15)


# With a padding over two, more cells are read than an extended map has.
OTHERS = [x for x in AXES if not x.is_exact_when_extended and x.before < 2]


@pytest.mark.parametrize("axis", OTHERS, ids=str)
def test_where_it_is_said_not_to_be_exact_it_is_not(axis):
    assert not all(
        torch.allclose(full_matrix(axis, length, 2), folded_matrix(axis, length, 2))
        for length in lengths(axis)
    )


@pytest.mark.parametrize("axis", AXES, ids=str)
def test_each_tap_is_shared_out_among_the_cells_that_it_reads(axis):
    expected: dict[int, float] = dict.fromkeys(range(-axis.before, axis.cells - axis.before), 0.0)
    for tap, weight in enumerate(weights(axis.taps).flatten().tolist()):
        position = tap * axis.dilation - axis.padding
        if position % 2 == 0:
            expected[position // 2] += weight
        else:
            expected[(position - 1) // 2] += weight / 2
            expected[(position + 1) // 2] += weight / 2
    folded = fold(weights(axis.taps), (0, axis.padding), (1, axis.dilation))
    assert folded.flatten().tolist() == pytest.approx(list(expected.values()), abs=1e-15)
    assert axis.skips_odd == all((tap * axis.dilation - axis.padding) % 2 == 0
                                 for tap in range(axis.taps))  # fmt: skip


def kernel(rows: int = 3, columns: int = 5, **options) -> Tensor:
    generator = torch.Generator().manual_seed(rows * 10 + columns)
    return torch.randn(4, 6, rows, columns, generator=generator, dtype=torch.float64).to(**options)


@pytest.mark.parametrize("geometry", [((1, 2), (1, 1)), ((0, 1), (2, 3)), ((3, 0), (1, 2))])
def test_rows_and_columns_are_folded_alike(geometry):
    padding, dilation = geometry
    folded = fold(kernel(), padding, dilation)
    rows, columns = axes((3, 5), padding, dilation)
    assert folded.shape == (4, 6, rows.cells, columns.cells)
    turned = fold(kernel().transpose(2, 3), padding[::-1], dilation[::-1])
    torch.testing.assert_close(turned.transpose(2, 3), folded)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_it_is_rounded_once(dtype):
    rounded = kernel(3, 3, dtype=dtype)
    folded = fold(rounded, (1, 1), (1, 1))
    assert folded.dtype == dtype
    exact = fold(rounded.double(), (1, 1), (1, 1))
    ulp = torch.finfo(dtype).eps * exact.abs().clamp(min=1e-3)
    assert ((folded.double() - exact).abs() <= 0.51 * ulp + 1e-7).all()


def test_autocast_does_not_round_it():
    with torch.autocast("cpu", torch.bfloat16):
        folded = fold(kernel(dtype=torch.float32), (1, 2), (1, 1))
    torch.testing.assert_close(folded, fold(kernel(dtype=torch.float32), (1, 2), (1, 1)))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_layout_stays(layout):
    folded = fold(kernel(3, 3, memory_format=layout), (1, 1), (1, 1))
    assert folded.is_contiguous(memory_format=layout)


def test_gradients_reach_the_kernel():
    given = kernel(2, 3)[:2, :2].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: fold(x, (1, 2), (1, 2)), given)
