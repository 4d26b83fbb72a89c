"""Convolutions of interpolated maps in files for ONNX Runtime, against the full map in float64."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from tests.reference import recovered
from torch import Tensor, nn

import virtualpool as vp
from virtualpool.fuse.kernels import reduced as on_reduced
from virtualpool.fuse.kernels.folding import axes, fold
from virtualpool.fuse.kernels.max_pooling import max_pool
from virtualpool.fuse.onnx.phases import convolution_by_phases, phases
from virtualpool.operator.pool import Axes, window_size

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SIZES = [(8, 8), (9, 12), (12, 9), (3, 2)]
OF_ONE_ROW = [(1, 6), (1, 1), (5, 1)]
CHANNELS = 4


class Convolving(nn.Module):
    """A convolution of the map of a size that its reduced map stands for, from the latter."""

    def __init__(self, size: Axes, kernel: Axes, stride: int, padding: Axes, groups: int) -> None:
        super().__init__()
        self.size, self.padding, self.groups = size, padding, groups
        self.stride = 2 * stride, 2 * stride
        self.weight = nn.Parameter(
            torch.randn(6 if groups == 1 else 4, CHANNELS // groups, *kernel)
        )
        self.bias = nn.Parameter(torch.randn(len(self.weight)))

    @property
    def outputs(self) -> Axes:
        around = 2 * self.padding[0], 2 * self.padding[1]
        kernel = self.weight.shape[2], self.weight.shape[3]
        return window_size(self.size, kernel, self.stride, around)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = axes(self.weight.shape[2:], self.padding, (1, 1))
        folded = fold(self.weight, self.padding, (1, 1))
        half = self.stride[0] // 2, self.stride[1] // 2
        before = rows.before, columns.before
        given = folded, self.bias, half, before, self.groups
        return on_reduced.convolution(x, self.size, self.outputs, *given, rectify=True)

    def in_full(self, x: Tensor) -> Tensor:
        full = recovered(x.double().relu(), self.size)
        weight, bias = self.weight.double(), self.bias.double()
        return torch.conv2d(full, weight, bias, self.stride, self.padding, 1, self.groups)


class Pooling(nn.Module):
    """Max pooling with windows of 3x3 of a map, from its reduced map."""

    def __init__(self, size: Axes, stride: int) -> None:
        super().__init__()
        self.size, self.stride = size, stride

    def forward(self, x: Tensor) -> Tensor:
        return max_pool(x, self.size, 3, self.stride)

    def in_full(self, x: Tensor) -> Tensor:
        full = recovered(x.double(), self.size)
        return nn.functional.max_pool2d(full, 3, self.stride, 1)


class Recovering(nn.Module):
    """The full map."""

    def __init__(self, size: Axes) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return vp.virtual_pool(x, self.size)

    def in_full(self, x: Tensor) -> Tensor:
        return recovered(x.double(), self.size)


class All(nn.Module):
    def __init__(self, each: Sequence[nn.Module]) -> None:
        super().__init__()
        self.each = nn.ModuleList(each)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        return [module(map) for module, map in zip(self.each, maps, strict=True)]


def exported(model: nn.Module, inputs: object, file: Path) -> set[str]:
    """Writes a file for ONNX Runtime; the operations that are in it."""
    with vp.exporting_for("onnxruntime-cpu"):
        torch.onnx.export(model.eval(), (inputs,), file, dynamo=True, verbose=False)
    return {node.op_type for node in onnx.load(file).graph.node}


def run(file: Path, inputs: list[Tensor]) -> list[Tensor]:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    given = {name: each.numpy() for name, each in zip(names, inputs, strict=True)}
    return [torch.as_tensor(output) for output in session.run(None, given)]


def check(modules: Sequence[nn.Module], file: Path) -> set[str]:
    """Exports modules of a size each together; the operations, if all results are right."""
    torch.manual_seed(0)
    maps = [
        torch.randn(2, CHANNELS, *((length + 1) // 2 for length in module.size))  # pyright: ignore
        for module in modules
    ]
    operations = exported(All(modules), maps, file)
    for found, module, map in zip(run(file, maps), modules, maps, strict=True):
        expected = module.in_full(map)  # pyright: ignore
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    return operations


@torch.no_grad()
def test_a_padded_convolution_needs_no_border(tmp_path):
    # All in one file: to write one takes longer than to write much.
    modules = [
        Convolving(size, (3, 3), stride, (1, 1), groups)
        for stride, groups in [(1, 2), (2, 1), (3, CHANNELS)]
        for size in SIZES[1:]
    ]
    operations = check(modules, tmp_path / "model.onnx")
    assert operations >= {"Conv", "AveragePool"}
    assert not operations & {"Pad", "Concat", "Slice", "Resize"}


@torch.no_grad()
def test_where_there_are_no_odd_positions(tmp_path):
    convolving = [Convolving(size, (3, 3), 1, (1, 1), 1) for size in OF_ONE_ROW]
    pooling = [Pooling(size, 4) for size in OF_ONE_ROW]
    check([*convolving, *pooling], tmp_path / "model.onnx")


@torch.no_grad()
def test_kernels_of_other_sizes(tmp_path):
    kernels = [
        ((1, 3), (0, 1), 1), ((3, 1), (1, 0), 2), ((5, 3), (1, 1), 1), ((2, 2), (0, 0), 2),
        ((4, 3), (0, 1), 1), ((4, 3), (0, 1), 2), ((7, 5), (1, 0), 2),
    ]  # fmt: skip
    modules = [
        Convolving(size, kernel, stride, padding, 1)
        for kernel, padding, stride in kernels
        for size in [(12, 13), (15, 12)]
    ]
    check(modules, tmp_path / "model.onnx")


@torch.no_grad()
def test_max_pooling_of_whatever_sign(tmp_path):
    modules = [Pooling(size, stride) for stride in (2, 4, 6) for size in SIZES]
    operations = check(modules, tmp_path / "model.onnx")
    assert operations == {"MaxPool", "AveragePool", "Max"}


@torch.no_grad()
def test_an_odd_size_is_cut_by_a_convolution(tmp_path):
    assert check([*map(Recovering, SIZES)], tmp_path / "model.onnx") == {"Resize", "Conv"}


@pytest.mark.parametrize(("cells", "before"), [*itertools.product(range(2, 6), (0, 1))])
def test_phases_read_what_the_folded_kernel_reads(cells, before):
    even, odd = phases(cells, before)
    read = torch.zeros(cells, cells)  # of each cell, by each cell of the kernel
    for tap, shares in enumerate(even.shares):
        read[tap - even.before + before] += torch.tensor(shares)
    if odd is not None:
        for tap, shares in enumerate(odd.shares):
            first = tap * odd.dilation - odd.before + before
            read[first : first + 2] += torch.tensor(shares) / 2
    assert torch.equal(read, torch.eye(cells))


def test_a_number_of_outputs_that_no_padding_gives():
    # The even phase, a single tap, would give one output more.
    given = torch.zeros(1, 1, 6, 6), (12, 12), (2, 2), torch.zeros(1, 1, 2, 2), None, (2, 2)
    assert convolution_by_phases(*given, (0, 0), 1) is None


@torch.no_grad()
def test_a_network_stays_in_the_layout_of_convolutions(tmp_path):
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
    ]  # fmt: skip
    images = torch.randn(1, 3, 33, 40)
    written = vp.apply(nn.Sequential(*layers).eval(), images, "all")
    fused = vp.fuse(written, images)
    for model in (written, fused):
        operations = exported(model, images, tmp_path / "model.onnx")
        assert not operations & {"Pad", "Slice", "Concat", "Mul"}
        (found,) = run(tmp_path / "model.onnx", [images])
        torch.testing.assert_close(found, written(images), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_with_an_open_batch(tmp_path):
    images = torch.randn(2, 3, 20, 22)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()]
    fused = vp.fuse(vp.apply(nn.Sequential(*layers).eval(), images, "all"), images)
    file, batch = tmp_path / "model.onnx", torch.export.Dim.DYNAMIC
    with vp.exporting_for("onnxruntime-cpu"):
        torch.onnx.export(
            fused, (images,), file, dynamo=True, verbose=False, dynamic_shapes=({0: batch},)
        )
    for count in (1, 3):
        more = torch.randn(count, 3, 20, 22)
        torch.testing.assert_close(run(file, [more])[0], fused(more), rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:Exporting a model while it is in training mode")
@pytest.mark.parametrize("training", [False, True])
def test_fused_for_training(training, tmp_path):
    images = torch.randn(1, 3, 20, 22)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()]
    written = vp.apply(nn.Sequential(*layers).eval(), images, "all")
    fused = vp.fuse(written, images, training=True).train(training)
    with vp.exporting_for("onnxruntime-cpu"):
        torch.onnx.export(fused, (images,), tmp_path / "model.onnx", dynamo=True, verbose=False)
    (found,) = run(tmp_path / "model.onnx", [images])
    torch.testing.assert_close(found, written(images), rtol=1e-4, atol=1e-5)
