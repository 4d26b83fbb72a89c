"""The operator against equations 3 to 5 of the paper, written out naively in float64."""

import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import recovered
from torch import Tensor, fx, nn
from torch.nn import functional

from virtualpool import VirtualPool, VirtualPoolError, apply, virtual_pool
from virtualpool.operator import pool
from virtualpool.operator.pool import cells, output_size

SIZES = [(h, w) for h in (1, 2, 3, 8, 9) for w in (1, 2, 5, 12)]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def reduced_map(size: tuple[int, int], channels: int = 3, **options) -> Tensor:
    generator = torch.Generator().manual_seed(size[0] * 100 + size[1])
    shape = (2, channels, (size[0] + 1) // 2, (size[1] + 1) // 2)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(**options)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_equals_the_papers_equations(size, channels):
    reduced = reduced_map(size, channels)
    full = virtual_pool(reduced, size)
    torch.testing.assert_close(full, recovered(reduced, size), rtol=0, atol=1e-15)
    assert torch.equal(VirtualPool()(reduced, size), full)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(8, 9), (7, 7), (4, 4), (6, 1)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_keeps_dtype_samples_and_layout(size, dtype, layout):
    reduced = reduced_map(size, dtype=dtype, memory_format=layout)
    full = virtual_pool(reduced, size)
    assert full.dtype == dtype
    assert full.is_contiguous(memory_format=layout)
    assert torch.equal(full[..., ::2, ::2], reduced)
    torch.testing.assert_close(full, recovered(reduced, size).to(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_form_for_gpus(size, dtype, layout):
    reduced = reduced_map(size, dtype=dtype, memory_format=layout)
    full = pool._with_channels_last(reduced, size)
    assert full.dtype == dtype
    assert full.is_contiguous(memory_format=layout)
    torch.testing.assert_close(full, virtual_pool(reduced, size))


@pytest.mark.parametrize("size", [(8, 9), (7, 7), (4, 4), (1, 6)])
def test_the_gradients_of_the_form_for_gpus(size):
    reduced = reduced_map(size).requires_grad_()
    weights = torch.randn(2, 3, *size, dtype=torch.float64)
    found, expected = (
        torch.autograd.grad((recover(reduced, size) * weights).sum(), reduced)
        for recover in (pool._with_channels_last, virtual_pool)
    )
    torch.testing.assert_close(found, expected)


NOT_CONTIGUOUS = {
    "every second row and column": lambda x: x[..., ::2, ::2],
    "transposed": lambda x: x.transpose(2, 3),
    "some of the channels": lambda x: x[:, 1:3],
    "one channel, many times": lambda x: x[:, :1].expand(-1, 5, -1, -1),
}


@pytest.mark.parametrize("view", NOT_CONTIGUOUS.values(), ids=NOT_CONTIGUOUS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_any_memory_is_read(view, layout):
    reduced = view(reduced_map((14, 20), memory_format=layout))
    before = reduced.clone()
    size = 2 * reduced.shape[2], 2 * reduced.shape[3] - 1
    torch.testing.assert_close(virtual_pool(reduced, size), recovered(reduced, size))
    assert torch.equal(reduced, before)


lengths = st.integers(1, 24)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(lengths, lengths, st.floats(-3, 3), st.sampled_from(DTYPES))
def test_properties(height, width, factor, dtype):
    size = (height, width)
    reduced = reduced_map(size)
    full = virtual_pool(reduced, size)
    assert torch.equal(virtual_pool(reduced.to(dtype), size)[..., ::2, ::2], reduced.to(dtype))
    constant = torch.full_like(reduced, factor, dtype=dtype)
    assert torch.equal(virtual_pool(constant, size), torch.full(full.shape, factor, dtype=dtype))
    other = reduced.flip(0, 3)
    torch.testing.assert_close(
        virtual_pool(factor * reduced + other, size), factor * full + virtual_pool(other, size)
    )
    # Rows and columns change places: neither axis is special.
    turned = virtual_pool(reduced.transpose(2, 3), (width, height)).transpose(2, 3)
    torch.testing.assert_close(turned, full)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(lengths, lengths)
def test_equals_the_designs_interpolation(height, width):
    reduced = reduced_map((height, width))
    odd = (2 * reduced.shape[2] - 1, 2 * reduced.shape[3] - 1)
    between = functional.interpolate(reduced, odd, mode="bilinear", align_corners=True)
    extended = functional.pad(between, (0, 1, 0, 1), mode="replicate")
    expected = extended[..., :height, :width]
    torch.testing.assert_close(virtual_pool(reduced, (height, width)), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("size", [(8, 8), (7, 8), (7, 7), (1, 2)])
def test_gradient_is_the_transpose(size):
    reduced = reduced_map(size, channels=2).requires_grad_()
    cotangent = torch.randn(2, 2, *size, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(virtual_pool(reduced, size), reduced, cotangent)
    (expected,) = torch.autograd.grad(recovered(reduced, size), reduced, cotangent)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("size", [(4, 6), (5, 4), (3, 3), (1, 2)])
def test_gradients_are_exact(size):
    reduced = reduced_map(size, channels=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: virtual_pool(x, size), reduced)
    assert torch.autograd.gradgradcheck(lambda x: virtual_pool(x, size), reduced)


def test_empty_batch():
    reduced = torch.empty(0, 3, 4, 4, requires_grad=True)
    full = virtual_pool(reduced, (8, 7))
    assert full.shape == (0, 3, 8, 7)
    full.sum().backward()
    assert reduced.grad is not None


def test_meta_device():
    full = virtual_pool(torch.empty(2, 3, 4, 4, device="meta"), (8, 7))
    assert (full.device.type, full.shape) == ("meta", (2, 3, 8, 7))


def test_is_not_the_usual_doubling():
    reduced = reduced_map((8, 8))
    usual = functional.interpolate(reduced, scale_factor=2, mode="bilinear", align_corners=False)
    assert not torch.allclose(virtual_pool(reduced, (8, 8)), usual, atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_autocast_leaves_the_dtype(dtype):
    reduced = reduced_map((8, 7), dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16):
        full = virtual_pool(reduced, (8, 7))
        assert torch.is_autocast_enabled("cpu")
    assert torch.equal(full, virtual_pool(reduced, (8, 7)))


@pytest.mark.parametrize(
    "size", [(9, 8), (6, 8), (8, 6), (8, 9), (0, 0), (4, 4), (8,), (8, 8, 8), 8, torch.Size([9, 8])]
)
def test_a_size_that_does_not_fit_is_refused(size):
    with pytest.raises(VirtualPoolError, match=r"\(1, 2, 4, 4\).*H must be 7 or 8") as error:
        virtual_pool(torch.zeros(1, 2, 4, 4), size)
    assert str(size) in str(error.value)


NO_MAPS = {
    "no batch": (torch.zeros(2, 4, 4), (8, 8), r"\(2, 4, 4\)"),
    "a volume": (torch.zeros(1, 2, 4, 4, 4), (8, 8), r"\(1, 2, 4, 4, 4\)"),
    "whole numbers": (torch.zeros(1, 2, 4, 4).int(), (8, 8), "int32"),
    "truth values": (torch.zeros(1, 2, 4, 4).bool(), (8, 8), "bool"),
    "complex numbers": (torch.zeros(1, 2, 4, 4) + 1j, (8, 8), "complex64"),
    "no rows": (torch.zeros(1, 2, 0, 4), (0, 8), r"\(1, 2, 0, 4\).*\(0, 8\)"),
}


@pytest.mark.parametrize(("reduced", "size", "message"), NO_MAPS.values(), ids=NO_MAPS)
def test_what_is_no_map_is_refused(reduced, size, message):
    with pytest.raises(VirtualPoolError, match=message):
        virtual_pool(reduced, size)


def test_a_tracer_sees_one_operation():
    graph = fx.symbolic_trace(VirtualPool()).graph
    assert [node.target for node in graph.nodes] == ["reduced", "size", virtual_pool, "output"]


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiles_without_a_graph_break(backend):
    compiled = torch.compile(VirtualPool(), fullgraph=True, backend=backend)
    reduced = reduced_map((8, 7)).requires_grad_()
    full = compiled(reduced, (8, 7))
    torch.testing.assert_close(full, virtual_pool(reduced, (8, 7)))
    (gradient,) = torch.autograd.grad(full.square().sum(), reduced)
    (expected,) = torch.autograd.grad(virtual_pool(reduced, (8, 7)).square().sum(), reduced)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.skipif(not shutil.which("g++"), reason="Inductor needs a C++ compiler")
def test_compiles_to_machine_code():
    compiled = torch.compile(virtual_pool, fullgraph=True)
    reduced = reduced_map((8, 7), dtype=torch.float32)
    torch.testing.assert_close(compiled(reduced, (8, 7)), virtual_pool(reduced, (8, 7)))


def exported(model: nn.Module, example: Tensor) -> nn.Module:
    batch = torch.export.Dim("batch", min=1, max=64)
    return torch.export.export(model, (example,), dynamic_shapes=({0: batch},)).module()


class Recovering(nn.Module):
    def forward(self, x):
        return VirtualPool()(x, (8, 7))


def test_exports_with_any_batch():
    reduced = reduced_map((8, 7))
    program = exported(Recovering(), reduced)
    more = torch.cat([reduced, 2 * reduced, reduced])
    assert torch.equal(program(more), virtual_pool(more, (8, 7)))


def test_a_pooled_network_exports_with_any_batch():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.Flatten()
    )
    images = torch.rand(2, 3, 12, 13)
    pooled = apply(network, images, "all").eval()
    program = exported(pooled, images)
    more = torch.rand(5, 3, 12, 13)
    torch.testing.assert_close(program(more), pooled(more))


@pytest.mark.parametrize("kernel", [1, 2, 3, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("padding", "dilation"), [(0, 1), (1, 1), (3, 2)])
def test_output_size_is_that_of_the_convolution(kernel, stride, padding, dilation):
    convolution = nn.Conv2d(1, 1, kernel, stride, padding, dilation)
    map = torch.zeros(1, 1, 23, 20)
    size = output_size(map, (kernel,) * 2, (stride,) * 2, (2 * padding,) * 2, (dilation,) * 2)
    assert size == tuple(convolution(map).shape[2:])


def test_a_pooled_network_compiles_in_one_graph():
    images = torch.rand(2, 3, 12, 13)
    pooled = apply(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)), images, "all")
    compiled = torch.compile(pooled, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(images), pooled(images))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("size", [(14, 14), (13, 14), (13, 13)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_on_a_gpu_the_layout_stays(size, layout):
    reduced = reduced_map(size, 32, memory_format=layout)
    full = virtual_pool(reduced.cuda(), size)
    assert full.is_contiguous(memory_format=layout)
    torch.testing.assert_close(full.cpu(), virtual_pool(reduced, size))


class Recovered(nn.Module):
    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return virtual_pool(x, self.size)


@pytest.mark.parametrize("size", [(8, 10), (7, 10), (8, 9), (7, 7), (2, 1), (1, 1)])
def test_a_file_of_onnx_resizes_without_padding(size, tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    map, file = reduced_map(size, dtype=torch.float32), tmp_path / "model.onnx"
    torch.onnx.export(Recovered(size).eval(), (map,), file, dynamo=True, verbose=False)
    kinds = {node.op_type for node in onnx.load(file).graph.node}
    assert kinds == ({"Resize", "Slice"} if size[0] % 2 or size[1] % 2 else {"Resize"})
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: map.numpy()})
    torch.testing.assert_close(torch.as_tensor(found), recovered(map.double(), size).float())


def test_traced_by_dynamo_for_onnx_it_resizes_as_elsewhere(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("virtualpool.operator.exporting.is_in_onnx_export", lambda: True)
    map = reduced_map((8, 10))
    program = torch.export.export(Recovered((8, 10)), (map,), strict=True)
    torch.testing.assert_close(program.module()(map), recovered(map, (8, 10)))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_cells_are_a_copy_that_an_activation_may_change(memory_format):
    x = torch.rand(2, 3, 5, 4).contiguous(memory_format=memory_format)
    before = x.clone()
    found = cells(x)
    assert torch.equal(found, x[..., ::2, ::2])
    assert found.is_contiguous(memory_format=memory_format)
    found.zero_()
    assert torch.equal(x, before)
