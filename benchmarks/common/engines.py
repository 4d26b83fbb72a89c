"""The runtimes that are compared: each makes a model ready to run on images of one shape.

ONNX Runtime and OpenVINO read ONNX files that torch's exporter writes, with fixed shapes, each in
the form that it runs best.
OpenVINO could take the model from torch itself, but then keeps the arithmetic on shapes in it and
makes a scattered update of every write in place. ExecuTorch is where `mobile.py` installs it.
"""

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor, nn

import virtualpool as vp
from benchmarks.common.executorch_programs import write_program
from virtualpool.graph.inputs import call
from virtualpool.measure.bench import Bench
from virtualpool.measure.compiling import compiled
from virtualpool.operator.exporting import Use

Run = Callable[[], Any]
Ready = Callable[[Tensor], Run]
"""A model in a runtime: of images, a function of nothing that runs it on them."""


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
    found = run()
    each = found if isinstance(found, tuple | list) else [found]
    return [torch.as_tensor(output) for output in each]


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
    session = onnx_runtime_session(write(model, images, file), threads)
    name = session.get_inputs()[0].name
    return lambda images: functools.partial(session.run, None, {name: images.numpy()})


def onnx_runtime_session(file: Path, threads: int, *, profile: Path | None = None) -> Any:
    """Opens a file in ONNX Runtime; with a path to begin its name with, it writes a profile."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads of one session that wait busily would take the cores from the next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def _openvino(
    model: nn.Module, images: Tensor, file: Path, threads: int, *, precision: str
) -> Ready:
    import openvino

    network = openvino.convert_model(exported(model, images, file))
    return in_openvino(network, threads, precision)


def in_openvino(network: Any, threads: int, precision: str) -> Ready:
    """Compiles a network of OpenVINO; its float operations have a precision of `f32` or `bf16`."""
    request = openvino_request(network, threads, precision)

    def bound(images: Tensor) -> Run:
        inputs = [numpy.ascontiguousarray(images.numpy())]
        return lambda: list(request.infer(inputs).values())

    return bound


def openvino_request(
    network: Any, threads: int, precision: str, *, has_profile: bool = False
) -> Any:
    """A request to a network that OpenVINO compiles, with a profile of each call if it is asked."""
    import openvino

    config = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,  # as the others, which leave it to the system
        "PERF_COUNT": has_profile,
    }
    return openvino.Core().compile_model(network, "CPU", config).create_infer_request()


def _executorch(model: nn.Module, images: Tensor, file: Path, threads: int) -> Ready:
    from executorch.extension.pybindings.portable_lib import (  # pyright: ignore
        _threadpool_get_thread_count,
        _unsafe_reset_threadpool,
    )
    from executorch.runtime import Runtime  # pyright: ignore

    program = file.with_suffix(".pte")
    if not program.exists():
        write_program(model, images, program)
    if _threadpool_get_thread_count() != threads:
        # Not for every candidate: loaded ones keep the old number of threads.
        _unsafe_reset_threadpool(threads)
    method = Runtime.get().load_program(program).load_method("forward")
    return lambda images: functools.partial(method.execute, [images])


def exported(model: nn.Module, images: Tensor, file: Path, use: Use = "any") -> Path:
    """The ONNX file of a model for images of this shape, written if it is not there."""
    if not file.exists():
        # The exporter tells of every operator of torchvision that it has not got.
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        with vp.exporting_for(use):
            torch.onnx.export(model, (images,), file, dynamo=True, verbose=False)
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
