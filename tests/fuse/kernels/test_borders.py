"""`extended` against the design's cells beside a reduced map, one by one."""

from typing import Any

import pytest
import torch
from torch import Tensor

from virtualpool.fuse.kernels.borders import extended

NONE, ONE = (0, 0), (1, 1)
SIZES = [(1, 1), (2, 2), (5, 6), (6, 5), (7, 7), (8, 4), (1, 6)]


def reduced_map(size: tuple[int, int], **options) -> Tensor:
    generator = torch.Generator().manual_seed(size[0] * 100 + size[1])
    shape = (2, 3, (size[0] + 1) // 2, (size[1] + 1) // 2)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(**options)


def naive(reduced: Tensor, size: tuple[int, int], before: tuple[int, int], after: tuple[int, int]):
    """Cell by cell: the sign of a copied cell changes before the first and after an odd last."""

    def cell_and_sign(index: int, count: int, length: int) -> tuple[int, int]:
        if index < 0:
            return 0, -1
        if index >= count:
            return count - 1, -1 if length % 2 else 1
        return index, 1

    rows, columns = reduced.shape[2:]
    made = []
    for row in range(-before[0], rows + max(after[0], 0)):
        y, sign_of_row = cell_and_sign(row, rows, size[0])
        cells = []
        for column in range(-before[1], columns + max(after[1], 0)):
            x, sign = cell_and_sign(column, columns, size[1])
            cells.append(sign_of_row * sign * reduced[:, :, y, x])
        made.append(torch.stack(cells, -1))
    return torch.stack(made, -2)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("before", [NONE, ONE, (0, 1), (1, 0)])
@pytest.mark.parametrize("after", [NONE, ONE, (0, 1), (1, -1), (-2, -1)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_each_cell_is_what_it_should_be(size, before, after, layout):
    reduced = reduced_map(size, memory_format=layout)
    given = reduced.clone()
    frame = extended(reduced, size, before, after)
    assert torch.equal(frame, naive(given, size, before, after))
    assert frame.is_contiguous(memory_format=layout)
    assert torch.equal(reduced, given)


@pytest.mark.parametrize("size", [(7, 8), (8, 7)])
def test_the_virtual_positions_outside_are_zero_or_repeat(size):
    frame = extended(reduced_map(size), size, ONE, ONE)
    means = (frame[..., 1:, :] + frame[..., :-1, :]) / 2
    assert not means[..., 0, :].any()  # row -1
    last = means[..., -1, :]  # row H where H is odd, H - 1 where it is even
    assert not last.any() if size[0] % 2 else torch.equal(last, frame[..., -2, :])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_keeps_the_dtype(dtype):
    reduced = reduced_map((7, 8), dtype=dtype)
    assert torch.equal(extended(reduced, (7, 8), ONE, ONE), naive(reduced, (7, 8), ONE, ONE))


@pytest.mark.parametrize("size", [(5, 6), (6, 5), (1, 2)])
def test_gradients_are_exact(size):
    reduced = reduced_map(size)[:1, :1].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: extended(x, size, ONE, ONE), reduced)


@pytest.mark.parametrize("size", [(5, 6), (6, 5), (1, 2)])
@pytest.mark.parametrize("before", [NONE, ONE, (0, 1)])
def test_gradients_through_relu_are_exact(size, before):
    reduced = reduced_map(size)[:1, :1].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: extended(x, size, before, ONE, rectify=True), reduced)


def test_training_keeps_the_extended_map_alone():
    kept: list[Tensor] = []

    def keep(saved: Tensor) -> Tensor:
        kept.append(saved)
        return saved

    weight = torch.rand(4, 3, 3, 3, dtype=torch.float64)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
        frame = extended(reduced_map((7, 8)).requires_grad_(), (7, 8), ONE, ONE, rectify=True)
        torch.conv2d(frame, weight)
    maps = {each.untyped_storage().data_ptr() for each in kept if each is not weight}
    assert len(maps) == 1


@pytest.mark.parametrize("size", [(5, 6), (6, 5)])
def test_compiled_it_is_the_same(size):
    compiled = torch.compile(extended, fullgraph=True, backend="eager")
    reduced = reduced_map(size)
    assert torch.equal(compiled(reduced, size, ONE, ONE), naive(reduced, size, ONE, ONE))
    torch.compiler.reset()


class Frame(torch.nn.Module):
    def __init__(self, *given: Any) -> None:
        super().__init__()
        self.given = given

    def forward(self, x: Tensor) -> Tensor:
        return extended(x, *self.given)


@pytest.mark.parametrize("size", [(1, 2), (7, 8), (8, 7)])
@pytest.mark.parametrize("before", [NONE, ONE])
@pytest.mark.parametrize("after", [ONE, (-2, 1)])
def test_exported_it_is_joined(size, before, after):
    reduced = reduced_map(size)
    program = torch.export.export(Frame(size, before, after), (reduced,))
    expected = naive(reduced, size, before, after)
    assert torch.equal(program.module()(reduced), expected)
    assert "pad" not in str(program.graph)
    assert "mul" not in str(program.graph)


def test_an_empty_batch():
    assert extended(torch.empty(0, 3, 2, 2), (4, 3), ONE, ONE).shape == (0, 3, 4, 4)


def test_autocast_leaves_the_dtype_as_it_is():
    reduced = reduced_map((7, 8), dtype=torch.bfloat16).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        assert extended(reduced, (7, 8), ONE, ONE).dtype == torch.bfloat16


@pytest.mark.parametrize("before", [NONE, ONE])
@pytest.mark.parametrize("recorded", [False, True])
def test_what_relu_makes_is_extended(before, recorded):
    reduced = reduced_map((7, 8)).requires_grad_(recorded)
    expected = naive(reduced.relu(), (7, 8), before, ONE)
    given = reduced.detach().clone()
    assert torch.equal(extended(reduced, (7, 8), before, ONE, rectify=True), expected)
    assert torch.equal(reduced, given)
