"""Operations on reduced maps against the same operations on the map that is interpolated."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.reference import operations, recovered
from torch import Tensor, nn
from torch.nn import functional

from virtualpool.fuse.kernels import reduced as on_reduced
from virtualpool.fuse.kernels.folding import axes, fold, spread
from virtualpool.fuse.kernels.max_pooling import max_pool, max_pool_from_cells

SIZES = [(h, w) for h in (2, 3, 8, 9) for w in (2, 5, 12)]
SMALL = [(1, 1), (1, 2), (2, 1), (1, 5), (6, 1)]


def reduced_map(size: tuple[int, int], channels: int = 3, **options) -> Tensor:
    generator = torch.Generator().manual_seed(size[0] * 100 + size[1])
    shape = (2, channels, (size[0] + 1) // 2, (size[1] + 1) // 2)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(**options)


Operation = Callable[[Tensor, tuple[int, int]], Tensor]
POOLINGS: dict[str, tuple[Operation, Operation]] = (
    {
        f"max {kernel} {stride}": (
            lambda x, size, k=kernel, s=stride: max_pool(x, size, k, s),
            lambda x, size, k=kernel, s=stride: functional.max_pool2d(x, k, s, k // 3),
        )
        for kernel in (2, 3)
        for stride in (2, 4, 6)
    }
    | {
        f"max from cells {stride}": (
            lambda x, size, s=stride: max_pool_from_cells(x, size, s, ceil_mode=True),
            lambda x, size, s=stride: functional.max_pool2d(x, 3, s, ceil_mode=True),
        )
        for stride in (2, 4, 6)
    }
    | {
        f"average {kernel}, {stride}": (
            lambda x, size, k=kernel, s=stride: on_reduced.average_pool(x, size, k, s),
            lambda x, size, k=kernel, s=stride: functional.avg_pool2d(x, k, s, k // 3),
        )
        for kernel in (2, 3)
        for stride in (2, 4, 6)
    }
)
MEANS: dict[str, tuple[Operation, Operation]] = {
    "mean": (on_reduced.mean, lambda x, size: functional.adaptive_avg_pool2d(x, 1)),
    "flat mean": (
        lambda x, size: on_reduced.mean(x, size, False), lambda x, size: x.mean((2, 3))
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("operation", "full"), POOLINGS.values(), ids=POOLINGS)
def test_pooling_equals_that_of_the_full_map(operation, full, size, layout):
    map = reduced_map(size, memory_format=layout)
    before = map.clone()
    result = operation(map, size)
    torch.testing.assert_close(result, full(recovered(map, size), size), rtol=0, atol=1e-14)
    assert torch.equal(map, before)
    # Code that follows may take a pooled map for one that has its memory to itself.
    assert result.is_contiguous(memory_format=layout)
    if layout is torch.contiguous_format:
        assert result.view(2, -1).shape == (2, 3 * result.shape[2] * result.shape[3])


@pytest.mark.parametrize("size", [*SIZES, *SMALL])
@pytest.mark.parametrize(("operation", "full"), MEANS.values(), ids=MEANS)
def test_mean_equals_that_of_the_full_map(operation, full, size):
    map = reduced_map(size)
    torch.testing.assert_close(operation(map, size), full(recovered(map, size), size))


@pytest.mark.parametrize("size", SMALL)
@pytest.mark.parametrize("stride", [2, 4])
def test_windows_of_three_on_the_smallest_maps(size, stride):
    map = reduced_map(size)
    expected = functional.max_pool2d(recovered(map, size), 3, stride, 1)
    torch.testing.assert_close(max_pool(map, size, 3, stride), expected)


BOTH = POOLINGS | MEANS


@pytest.mark.parametrize(("operation", "full"), BOTH.values(), ids=BOTH)
@pytest.mark.parametrize("size", [(8, 8), (7, 8)])
def test_any_memory_is_read(operation, full, size):
    maps = [
        reduced_map((16, 16))[..., ::2, ::2],
        reduced_map((8, 8)).transpose(2, 3),
        reduced_map((8, 8), 5)[:, 1:3],
        reduced_map((8, 8))[:, :1].expand(-1, 4, -1, -1),
        reduced_map((8, 8), memory_format=torch.channels_last)[:, 1:],
    ]
    for map in maps:
        expected = full(recovered(map, size), size)
        torch.testing.assert_close(operation(map, size), expected)


@pytest.mark.parametrize(("operation", "full"), BOTH.values(), ids=BOTH)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_dtypes(operation, full, dtype):
    map = reduced_map((9, 12), dtype=dtype)
    result = operation(map, (9, 12))
    assert result.dtype == dtype
    expected = full(recovered(map, (9, 12)), (9, 12))
    tolerance = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(result.double(), expected, rtol=tolerance, atol=tolerance)


class Mean(nn.Module):
    def __init__(self, *given: Any) -> None:
        super().__init__()
        self.given = given

    def forward(self, x: Tensor) -> Tensor:
        return on_reduced.mean(x, *self.given)


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (7, 8)])
@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize(("for_onnx", "whole"), [(False, "mean"), (True, "matmul")])
def test_exported_a_mean_is_taken_of_all_cells_at_once(size, keepdim, for_onnx, whole, monkeypatch):
    monkeypatch.setattr("virtualpool.operator.exporting.is_in_onnx_export", lambda: for_onnx)
    map = reduced_map(size)
    program = torch.export.export(Mean(size, keepdim), (map,))
    expected = recovered(map, size).mean((2, 3), keepdim)
    torch.testing.assert_close(program.module()(map), expected)
    assert whole in operations(program)
    assert "sum" not in operations(program)
    # A product with a number would be one with a tensor that ExecuTorch copies in each call.
    products = [it for it in program.graph.nodes if it.target is torch.ops.aten.mul.Tensor]
    assert len(products) == (not for_onnx)


def test_the_mean_of_a_large_map_in_half_precision():
    map = torch.full((1, 1, 100, 100), 30.0, dtype=torch.float16)
    assert on_reduced.mean(map, (200, 199)).item() == 30


@pytest.mark.parametrize(("operation", "full"), BOTH.values(), ids=BOTH)
@pytest.mark.parametrize("size", [(8, 7), (7, 8)])
def test_gradients_are_those_of_the_full_map(operation, full, size):
    map = reduced_map(size).requires_grad_()
    (gradient,) = torch.autograd.grad(operation(map, size).square().sum(), map)
    (expected,) = torch.autograd.grad(full(recovered(map, size), size).square().sum(), map)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize(("operation", "full"), BOTH.values(), ids=BOTH)
def test_compiled_they_are_the_same(operation, full):
    compiled = torch.compile(operation, fullgraph=True, backend="eager")
    map = reduced_map((9, 8))
    torch.testing.assert_close(compiled(map, (9, 8)), full(recovered(map, (9, 8)), (9, 8)))
    torch.compiler.reset()


@pytest.mark.parametrize(("operation", "full"), BOTH.values(), ids=BOTH)
def test_empty_batches(operation, full):
    map = torch.empty(0, 3, 4, 4)
    assert operation(map, (8, 7)).shape == full(torch.empty(0, 3, 8, 7), (8, 7)).shape


def mended(x, size, outputs, kernel, bias, stride, padding, dilation, groups):
    folds = fold(kernel, padding, dilation), kernel
    return on_reduced.mended_convolution(
        x, size, outputs, folds, bias, stride, padding, dilation, groups
    )


def extended(x, size, outputs, kernel, bias, stride, padding, dilation, groups):
    rows, columns = axes(kernel.shape[-2:], padding, dilation)
    folded = fold(kernel, padding, dilation)
    before = rows.before, columns.before
    return on_reduced.convolution(x, size, outputs, folded, bias, stride, before, groups)


lengths, taps, spreads = st.integers(1, 20), st.integers(1, 7), st.integers(1, 3)
pads, steps = st.sampled_from([0, 1, 1, 2, 3]), st.sampled_from([2, 2, 4, 6])
CONVOLUTIONS = {
    "size": st.tuples(lengths, lengths),
    "kernel": st.tuples(taps, taps),
    "padding": st.tuples(pads, pads),
    "dilation": st.tuples(spreads, spreads),
    "groups": st.sampled_from([1, 2, 4]),
    "has_bias": st.booleans(),
    "layout": st.sampled_from([torch.contiguous_format, torch.channels_last]),
    "recorded": st.booleans(),
}


def operands(kernel, groups, has_bias, size, layout, recorded) -> tuple[Tensor, Any, Tensor]:
    """A weight, a bias or none, and a reduced map."""
    weight = torch.randn(8, 4 // groups, *kernel, dtype=torch.float64)
    bias = torch.randn(8, dtype=torch.float64) if has_bias else None
    return weight, bias, reduced_map(size, 4, memory_format=layout).requires_grad_(recorded)


def assert_same(result: Tensor, expected: Tensor, x: Tensor) -> None:
    """Compares results, and where they are recorded the gradients of a map."""
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)
    if x.requires_grad:
        (gradient,) = torch.autograd.grad(result.square().sum(), x)
        (other,) = torch.autograd.grad(expected.square().sum(), x)
        torch.testing.assert_close(gradient, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("form", [extended, mended])
@settings(max_examples=150, deadline=None, derandomize=True)
@given(stride=st.tuples(steps, steps), **CONVOLUTIONS)
def test_convolutions_equal_that_of_the_full_map(
    form, size, kernel, stride, padding, dilation, groups, has_bias, layout, recorded
):
    weight, bias, map = operands(kernel, groups, has_bias, size, layout, recorded)
    before = map.detach().clone()
    try:
        expected = functional.conv2d(
            recovered(map, size), weight, bias, stride, padding, dilation, groups
        )
    except RuntimeError:
        assume(False)
        raise
    if form is extended:
        both = axes(kernel, padding, dilation)
        assume(all(axis.is_exact_when_extended for axis in both))
    outputs = tuple(expected.shape[2:])
    half = stride[0] // 2, stride[1] // 2
    result = form(map, size, outputs, weight, bias, half, padding, dilation, groups)
    assert_same(result, expected, map)
    assert torch.equal(map, before)


def transposed(x, size, kernel, bias, padding, dilation, groups):
    folds = spread(kernel, padding, dilation, groups), kernel
    return on_reduced.transposed_convolution(x, size, folds, bias, padding, dilation, groups)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(**CONVOLUTIONS)
def test_transposed_convolutions_equal_that_of_the_full_map(
    size, kernel, padding, dilation, groups, has_bias, layout, recorded
):
    along = axes(kernel, padding, dilation)
    assume(all(axis.reach_before >= 0 for axis in along))
    pairs = zip(size, kernel, padding, dilation, strict=True)
    assume(all(length + 2 * pad > step * (taps - 1) for length, taps, pad, step in pairs))
    weight, bias, map = operands(kernel, groups, has_bias, size, layout, recorded)
    full = recovered(map, size)
    expected = functional.conv2d(full, weight, bias, 1, padding, dilation, groups)
    result = transposed(map, size, weight, bias, padding, dilation, groups)
    assert_same(result, expected, map)


@pytest.mark.parametrize("form", [extended, mended])
@pytest.mark.parametrize("size", [(8, 8), (7, 9), (6, 7)])
def test_compiled_convolutions_are_the_same(form, size):
    weight = torch.randn(5, 3, 3, 3, dtype=torch.float64)
    expected = functional.conv2d(recovered(reduced_map(size), size), weight, None, 2, 1)
    outputs = tuple(expected.shape[2:])
    compiled = torch.compile(form, fullgraph=True, backend="eager")
    one, no = (1, 1), (1, 1)
    result = compiled(reduced_map(size), size, outputs, weight, None, one, one, no, 1)
    torch.testing.assert_close(result, expected)
    torch.compiler.reset()
