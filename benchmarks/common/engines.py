"""The runtimes that are compared: each makes a model ready to run on images of one shape.

ONNX Runtime and OpenVINO read ONNX files that torch's exporter writes, with fixed shapes, each in
the form that it runs best. ExecuTorch is where `mobile.py` installs it.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.common.executorch_programs import write_program
from virtualpool.export.arrays import outputs_of
from virtualpool.export.executorch import in_executorch
from virtualpool.export.format import Ready, Run
from virtualpool.export.onnx import in_onnx_runtime, write_onnx
from virtualpool.export.openvino import in_openvino
from virtualpool.graph.inputs import call
from virtualpool.measure.bench import Bench
from virtualpool.measure.compiling import compiled
from virtualpool.operator.exporting import Use


@dataclass(frozen=True)
class Engine:
    """A runtime.

    Attributes:
        title: its name in tables.
        packages: whose versions its numbers depend on.
        dtype: the precision of its computations.
        tolerance: the largest difference from PyTorch in that precision, relative. Float32's
            rounding alone comes to 2e-4 behind the hundred random layers of ResNet-101; in bfloat16
            it is as much as the unmodified network differs, at least.
        ready: makes a model ready to run on images of a shape, with a number of threads; the path
            is its ONNX file's, which is written if it is not there, as is ExecuTorch's
            beside it.
    """

    title: str
    packages: tuple[str, ...]
    dtype: torch.dtype
    tolerance: float
    ready: Callable[[nn.Module, Tensor, Path, int], Ready]


def outputs(run: Run) -> list[Tensor]:
    """Runs a model: its outputs as tensors, whatever the runtime gives."""
    return outputs_of(run())


def in_eager(model: nn.Module, images: Tensor, dtype: torch.dtype = torch.float32) -> Run:
    """Runs a model as PyTorch does it by itself, with channels last."""
    bench = Bench.of("cpu", dtype, channels_last=True)
    return functools.partial(call, bench.copy_of(model), bench.inputs(images, None))


def _eager(model: nn.Module, images: Tensor, file: Path, threads: int) -> Ready:
    return functools.partial(in_eager, model)


def in_inductor(
    model: nn.Module, images: Tensor, file: Path, threads: int, *, dtype: torch.dtype | None = None
) -> Ready:
    """Compiles a model, its weights frozen and in channels last; None leaves them as they are."""
    bench = Bench.of("cpu", dtype, channels_last=True)
    function = compiled(bench.copy_of(model), bench.inputs(images, None), "the model").func
    return lambda images: functools.partial(function, bench.inputs(images, None))


def _onnx_runtime(
    model: nn.Module,
    images: Tensor,
    file: Path,
    threads: int,
    *,
    write: Callable[[nn.Module, Tensor, Path], Path],
) -> Ready:
    return in_onnx_runtime(write(model, images, file), threads)


def _openvino(
    model: nn.Module, images: Tensor, file: Path, threads: int, *, precision: str
) -> Ready:
    import openvino

    network = openvino.convert_model(exported(model, images, file))
    return in_openvino(network, threads, precision)


def _executorch(model: nn.Module, images: Tensor, file: Path, threads: int) -> Ready:
    program = file.with_suffix(".pte")
    if not program.exists():
        write_program(model, images, program)
    return in_executorch(program, threads)


def exported(model: nn.Module, images: Tensor, file: Path, use: Use = "any") -> Path:
    """The ONNX file of a model for images of this shape, written if it is not there."""
    if not file.exists():
        write_onnx(model, images, file, use)
    return file


def exported_for_onnx_runtime(model: nn.Module, images: Tensor, file: Path) -> Path:
    """The same in the form that is for ONNX Runtime, beside the file that others read."""
    return exported(model, images, file.with_suffix(".onnxruntime.onnx"), "onnxruntime-cpu")


_TORCH = ("torch", "torchvision")
_ONNX_RUNTIME = (*_TORCH, "onnxscript", "onnxruntime")
_OPENVINO = (*_TORCH, "onnxscript", "openvino")

EXECUTORCH = "executorch"
ONNX_RUNTIME_ANY = "onnxruntime-any"
ENGINES = {
    "eager": Engine("eager", _TORCH, torch.float32, 1e-3, _eager),
    "compiled": Engine("compiled, frozen", _TORCH, torch.float32, 1e-3, in_inductor),
    "onnxruntime": Engine(
        "ONNX Runtime",
        _ONNX_RUNTIME,
        torch.float32,
        1e-3,
        functools.partial(_onnx_runtime, write=exported_for_onnx_runtime),
    ),
    ONNX_RUNTIME_ANY: Engine(
        "ONNX Runtime, files for any runtime",
        _ONNX_RUNTIME,
        torch.float32,
        1e-3,
        functools.partial(_onnx_runtime, write=exported),
    ),
    "openvino": Engine(
        "OpenVINO", _OPENVINO, torch.float32, 1e-3, functools.partial(_openvino, precision="f32")
    ),
    "openvino-bf16": Engine(
        "OpenVINO bf16",
        _OPENVINO,
        torch.bfloat16,
        5e-2,
        functools.partial(_openvino, precision="bf16"),
    ),
    EXECUTORCH: Engine(
        "ExecuTorch, XNNPACK", (*_TORCH, "executorch"), torch.float32, 1e-4, _executorch
    ),
}
