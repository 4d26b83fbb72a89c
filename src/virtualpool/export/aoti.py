"""AOTInductor: machine code for this kind of processor in a `.pt2` package."""

from collections import Counter
from pathlib import Path

from virtualpool.export.format import Format, Ready, Request
from virtualpool.export.program import called, operators_of, program_of
from virtualpool.torch_private import compiled_package, loaded_package


def _write(request: Request, path: Path) -> Counter[str]:
    program = program_of(request)
    operators = operators_of(program.graph)
    compiled_package(program, path)
    return operators


def _ready(path: Path, threads: int) -> Ready:
    return called(loaded_package(path))


AOTI = Format(
    name="aoti",
    suffix=".pt2",
    title="AOTInductor",
    runtime="AOTInductor",
    write=_write,
    ready=_ready,
    open_axes=("none", "batch", "all"),
)
