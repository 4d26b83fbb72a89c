"""Core ML: an `.mlpackage`, which any machine writes and a Mac alone runs."""

import functools
import logging
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import fx

from virtualpool.export.arrays import arrays_of
from virtualpool.export.format import Format, Ready, Request, Run
from virtualpool.export.program import program_of


def _write(request: Request, path: Path) -> Counter[str]:
    # It tells of each library that it was not tried with.
    logging.getLogger("coremltools").setLevel(logging.ERROR)
    import coremltools  # pyright: ignore[reportMissingImports]

    precisions = coremltools.precision
    wanted = precisions.FLOAT16 if request.precision == "float16" else precisions.FLOAT32
    program = program_of(request).run_decompositions({})
    _with_limits_in_float(program.graph)
    package = coremltools.convert(
        program,
        convert_to="mlprogram",
        compute_precision=wanted,
        skip_model_load=True,
    )
    package.save(str(path))
    blocks = package.get_spec().mlProgram.functions["main"].block_specializations.values()
    kinds = (each.type for block in blocks for each in block.operations)
    return Counter(kind for kind in kinds if kind != "const")


def _with_limits_in_float(graph: fx.Graph) -> None:
    """Core ML's converter refuses a map of floats between two integers, as ReLU6 writes them."""
    limited = (torch.ops.aten.hardtanh.default, torch.ops.aten.clamp.default)
    for node in graph.nodes:
        if node.target in limited and node.meta["val"].is_floating_point():
            node.args = tuple(float(it) if type(it) is int else it for it in node.args)


def _ready(path: Path, threads: int) -> Ready:
    import coremltools  # pyright: ignore[reportMissingImports]

    units = coremltools.ComputeUnit.CPU_ONLY
    package = coremltools.models.MLModel(str(path), compute_units=units)
    description = package.get_spec().description
    outputs = [each.name for each in description.output]

    def bound(inputs: Any) -> Run:
        pairs = zip(description.input, arrays_of(inputs), strict=True)
        arrays = {each.name: array for each, array in pairs}
        predict = functools.partial(package.predict, arrays)
        return lambda: [found[name] for found in [predict()] for name in outputs]

    return bound


COREML = Format(
    name="coreml",
    suffix=".mlpackage",
    title="Core ML",
    runtime="Core ML",
    write=_write,
    ready=_ready,
    packages=("coremltools",),
    extra="coreml",
    precisions=("float32", "float16"),
    cannot_run="" if sys.platform == "darwin" else "Core ML runs on macOS alone",
)
