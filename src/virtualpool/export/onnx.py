"""ONNX, run in ONNX Runtime on the processor: for that alone, or for every runtime."""

import functools
import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.export.arrays import arrays_of
from virtualpool.export.format import Format, OpenAxes, Ready, Request, Run
from virtualpool.export.half import Half
from virtualpool.export.shapes import dynamic_shapes, takes_images_singly, to_trace
from virtualpool.graph.inputs import as_call, call, tensors
from virtualpool.operator.exporting import Use, exporting_for


def write_onnx(
    model: nn.Module, inputs: Any, path: Path, use: Use, open_axes: OpenAxes = "none"
) -> None:
    """Writes one file with the weights in it, of 2 GB at most.

    Args:
        model: in eval mode; call this without gradients.
        inputs: example inputs. Torchvision's detectors, and models that take a list of images, go
            by PyTorch's older exporter: `torch.export` knows no number of boxes that values decide.
        path: where to.
        use: of the file; see `exporting_for`.
        open_axes: of the inputs.
    """
    # The exporter tells of every operator of torchvision that it has not got.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    names = _names(call(model, inputs))
    inputs = to_trace(inputs, open_axes)
    arguments, keywords = as_call(inputs)
    if takes_images_singly(model, inputs):
        torch.onnx.export(model, arguments, path, dynamo=False, output_names=names)
        return
    with exporting_for(use):
        torch.onnx.export(
            model,
            arguments,
            path,
            kwargs=keywords,
            dynamo=True,
            verbose=False,
            external_data=False,
            output_names=names,
            dynamic_shapes=dynamic_shapes(inputs, open_axes, named=True),
        )


def operators_in(path: Path) -> Counter[str]:
    """How often an ONNX file has each operator."""
    import onnx

    kinds = (node.op_type for node in onnx.load(path).graph.node)
    return Counter(kind for kind in kinds if kind != "Constant")


def onnx_runtime_session(path: Path, threads: int, *, profile: Path | None = None) -> Any:
    """Opens a file in ONNX Runtime; with a path to begin its name with, it writes a profile."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads of one session that wait busily would take the cores from the next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def in_onnx_runtime(path: Path, threads: int) -> Ready:
    """A file in ONNX Runtime."""
    session = onnx_runtime_session(path, threads)
    names = [each.name for each in session.get_inputs()]

    def bound(inputs: Any) -> Run:
        arrays = arrays_of(inputs)
        if len(arrays) != len(names):
            raise VirtualPoolError(
                f"The ONNX file has {len(names)} inputs ({', '.join(names)}) where the model takes "
                f"{len(arrays)} tensors. Leave out what the model never reads."
            )
        return functools.partial(session.run, None, dict(zip(names, arrays, strict=True)))

    return bound


def _names(outputs: Any) -> list[str]:
    """Names for a model's outputs.

    >>> _names(torch.zeros(1)), _names({"out": torch.zeros(1)}), _names([torch.zeros(1)] * 2)
    (['output'], ['out'], ['output_0', 'output_1'])
    """
    found = outputs[0] if isinstance(outputs, list) and len(outputs) == 1 else outputs
    if isinstance(found, Tensor):
        return ["output"]
    if isinstance(found, dict) and all(isinstance(each, Tensor) for each in found.values()):
        return [str(name) for name in found]
    return [f"output_{index}" for index in range(len(tensors(outputs)))]


def _write(request: Request, path: Path, use: Use) -> Counter[str]:
    if request.precision == "int8":
        from virtualpool.export import onnx_int8

        source = path.with_suffix(".float.onnx")
        write_onnx(request.model, request.inputs, source, "any", request.open_axes)
        onnx_int8.quantise(source, path, request.calibration)
    elif request.precision == "float16":
        write_onnx(Half(request.model), request.inputs, path, "any", request.open_axes)
    else:
        write_onnx(request.model, request.inputs, path, use, request.open_axes)
    return operators_in(path)


ONNX = Format(
    name="onnx",
    suffix=".onnx",
    title="ONNX",
    runtime="ONNX Runtime",
    write=functools.partial(_write, use="onnxruntime-cpu"),
    ready=in_onnx_runtime,
    packages=("onnxruntime", "onnx", "onnxscript"),
    extra="onnx",
    precisions=("float32", "float16", "int8"),
    open_axes=("none", "batch", "all"),
)

ONNX_ANY = replace(
    ONNX,
    name="onnx-any",
    title="ONNX for any runtime",
    write=functools.partial(_write, use="any"),
)
