"""AOTInductor: machine code for this kind of processor in a `.pt2` package."""

import functools
from collections import Counter
from pathlib import Path
from typing import Any

from virtualpool.export.format import Format, Ready, Request, Run
from virtualpool.export.program import operators_of, program_of
from virtualpool.graph.inputs import as_call
from virtualpool.torch_private import compiled_package, loaded_package


def _write(request: Request, path: Path) -> Counter[str]:
    program = program_of(request)
    operators = operators_of(program.graph)
    compiled_package(program, path)
    return operators


def _ready(path: Path, threads: int) -> Ready:
    package = loaded_package(path)

    def bound(inputs: Any) -> Run:
        arguments, keywords = as_call(inputs)
        return functools.partial(package, *arguments, **keywords)

    return bound


AOTI = Format(
    name="aoti",
    suffix=".pt2",
    title="AOTInductor",
    runtime="AOTInductor",
    write=_write,
    ready=_ready,
    open_axes=("none", "batch", "all"),
)
