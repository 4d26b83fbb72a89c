"""Max pooling beyond `test_reduced`: images interleaved, and the memory of training."""

from typing import Any

import pytest
import torch
from tests.fuse.kernels.test_reduced import reduced_map
from tests.reference import operations, recovered
from torch.nn import functional

from virtualpool.fuse.kernels import max_pooling
from virtualpool.fuse.kernels.max_pooling import max_pool, max_pool_from_cells


@pytest.mark.parametrize("cached", [1, 60, 10**6])
@pytest.mark.parametrize("size", [(15, 8), (16, 7)])
@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (2, 4), (3, 2), (3, 6)])
def test_any_number_of_images_and_rows_at_a_time(cached, size, kernel, stride, monkeypatch):
    monkeypatch.setattr(max_pooling, "_CACHED", cached)
    map = torch.cat([reduced_map(size), -reduced_map(size)[:1]]).requires_grad_()
    expected = functional.max_pool2d(recovered(map, size), kernel, stride, kernel // 3)
    pooled = max_pool(map, size, kernel, stride)
    torch.testing.assert_close(pooled, expected)
    torch.testing.assert_close(max_pool(map.detach(), size, kernel, stride), expected)
    (gradient,) = torch.autograd.grad(pooled.square().sum(), map)
    (other,) = torch.autograd.grad(expected.square().sum(), map)
    torch.testing.assert_close(gradient, other)


@pytest.mark.parametrize("size", [(3, 3), (4, 5), (9, 12), (14, 7)])
@pytest.mark.parametrize("stride", [2, 4, 6])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_windows_that_begin_and_end_at_cells(size, stride, ceil_mode):
    map = reduced_map(size).requires_grad_()
    expected = functional.max_pool2d(recovered(map, size), 3, stride, ceil_mode=ceil_mode)
    pooled = max_pool_from_cells(map, size, stride, ceil_mode=ceil_mode)
    torch.testing.assert_close(pooled, expected)
    (gradient,) = torch.autograd.grad(pooled.square().sum(), map)
    (other,) = torch.autograd.grad(expected.square().sum(), map)
    torch.testing.assert_close(gradient, other)


def test_of_equal_values_the_first_has_the_gradient_as_in_pytorch():
    map = torch.ones(1, 1, 3, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(max_pool(map, (6, 6), 2, 2).sum(), map)
    assert torch.equal(gradient, torch.ones(1, 1, 3, 3))


def test_training_keeps_the_reduced_map_alone():
    kept: list[torch.Tensor] = []

    def keep(saved: torch.Tensor) -> torch.Tensor:
        kept.append(saved)
        return saved

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
        max_pool(torch.rand(2, 3, 8, 8, requires_grad=True), (16, 16), 2, 2)
    assert [tuple(each.shape) for each in kept] == [(2, 3, 8, 8)]


class Pooling(torch.nn.Module):
    def __init__(self, *given: Any, is_rectified: bool = True) -> None:
        super().__init__()
        self.given, self.is_rectified = given, is_rectified

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return max_pool(x, *self.given, is_rectified=self.is_rectified)


SIZES = pytest.mark.parametrize("size", [(3, 2), (8, 7)])
WINDOWS = pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (2, 4), (3, 2), (3, 6)])


@SIZES
@WINDOWS
@pytest.mark.parametrize("is_rectified", [True, False])
def test_exported_it_is_the_same(size, kernel, stride, is_rectified):
    map = reduced_map(size).relu() if is_rectified else reduced_map(size)
    pooling = Pooling(size, kernel, stride, is_rectified=is_rectified)
    program = torch.export.export(pooling, (map,))
    expected = functional.max_pool2d(recovered(map, size), kernel, stride, kernel // 3)
    torch.testing.assert_close(program.module()(map), expected, rtol=1e-14, atol=1e-14)
    # Operators that XNNPACK has not.
    if is_rectified or stride == 2:
        assert not operations(program) & {"pad", "lerp", "slice", "conv2d", "alias"}


@SIZES
@WINDOWS
def test_for_onnx_it_is_the_same_for_what_is_not_below_zero(
    size, kernel, stride, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("virtualpool.operator.exporting.is_in_onnx_export", lambda: True)
    map = reduced_map(size).relu()
    program = torch.export.export(Pooling(size, kernel, stride), (map,))
    expected = functional.max_pool2d(recovered(map, size), kernel, stride, kernel // 3)
    torch.testing.assert_close(program.module()(map), expected, rtol=1e-14, atol=1e-14)
    takes_maximum = "maximum" in operations(program)
    assert takes_maximum == ((kernel, stride) != (2, 2))
    assert "conv2d" in operations(program)


def test_an_empty_batch():
    map = torch.empty(0, 3, 4, 4, requires_grad=True)
    pooled = max_pool(map, (8, 8), 2, 2)
    assert pooled.shape == (0, 3, 4, 4)
    assert torch.autograd.grad(pooled.sum(), map)[0].shape == map.shape
