"""`torch.export`: a program of PyTorch's own operators in a `.pt2` file."""

import functools
import operator
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from virtualpool.export.format import Format, Ready, Request, Run
from virtualpool.export.shapes import dynamic_shapes, to_trace
from virtualpool.graph.inputs import as_call


def program_of(request: Request) -> torch.export.ExportedProgram:
    """The program of a network; call it without gradients."""
    inputs = to_trace(request.inputs, request.open_axes)
    arguments, keywords = as_call(inputs)
    shapes = dynamic_shapes(inputs, request.open_axes)
    return torch.export.export(request.model, arguments, keywords, dynamic_shapes=shapes)


def operators_of(graph: fx.Graph) -> Counter[str]:
    """How often a graph calls each operator.

    >>> graph = fx.Graph()
    >>> _ = graph.call_function(torch.ops.aten.relu.default, (graph.placeholder("map"),))
    >>> operators_of(graph)
    Counter({'relu.default': 1})
    """
    calls = [node.target for node in graph.nodes if node.op == "call_function"]
    return Counter(call.__name__ for call in calls if call is not operator.getitem)


def _shrink_unused(program: torch.export.ExportedProgram) -> None:
    """Shrinks parameters that no operator reads: a file would have them beside folded ones."""
    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    names = program.graph_signature.inputs_to_parameters
    for argument, name in names.items():
        if not placeholders[argument].users:
            # One number: PyTorch warns of files with none.
            program.state_dict[name] = nn.Parameter(torch.zeros(1), requires_grad=False)


def _write(request: Request, path: Path) -> Counter[str]:
    program = program_of(request)
    _shrink_unused(program)
    torch.export.save(program, path)
    return operators_of(program.graph)


def called(function: Callable[..., Any]) -> Ready:
    """What takes the network's own arguments, ready to be called with inputs."""

    def bound(inputs: Any) -> Run:
        arguments, keywords = as_call(inputs)
        return functools.partial(function, *arguments, **keywords)

    return bound


def _ready(path: Path, threads: int) -> Ready:
    return called(torch.export.load(path).module())


PROGRAM = Format(
    name="pt2",
    suffix=".pt2",
    title="torch.export",
    runtime="PyTorch",
    write=_write,
    ready=_ready,
    open_axes=("none", "batch", "all"),
)
