"""ExecuTorch: a program whose work XNNPACK does, on the processor of a phone and on this one.

Whatever XNNPACK has no form for is left to ExecuTorch's own operators. Between the two a map
changes its layout, so these cost more than themselves.
"""

import functools
from collections import Counter
from pathlib import Path
from typing import Any

from virtualpool.export.format import Format, Ready, Request, Run
from virtualpool.export.program import operators_of, program_of
from virtualpool.graph.inputs import tensors

DELEGATE = "executorch_call_delegate"
"""The operator that stands for a part of the network which XNNPACK runs in one go."""


def write_program(request: Request, path: Path) -> Counter[str]:
    """Writes a program in float32, with fixed shapes; gives the operators outside of XNNPACK."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import (  # pyright: ignore
        XnnpackPartitioner,
    )
    from executorch.exir import to_edge_transform_and_lower  # pyright: ignore

    lowered = to_edge_transform_and_lower(program_of(request), partitioner=[XnnpackPartitioner()])
    operators = operators_of(lowered.exported_program().graph)
    path.write_bytes(lowered.to_executorch().buffer)
    return operators


def in_executorch(path: Path, threads: int) -> Ready:
    """A program in ExecuTorch's own runtime."""
    # The number of threads has no public name.
    from executorch.extension.pybindings.portable_lib import (  # pyright: ignore
        _threadpool_get_thread_count,  # noqa: PLC2701
        _unsafe_reset_threadpool,  # noqa: PLC2701
    )
    from executorch.runtime import Runtime  # pyright: ignore

    if _threadpool_get_thread_count() != threads:
        # Not for every program: loaded ones keep the old number of threads.
        _unsafe_reset_threadpool(threads)
    method = Runtime.get().load_program(path).load_method("forward")

    def bound(inputs: Any) -> Run:
        return functools.partial(method.execute, tensors(inputs))

    return bound


EXECUTORCH = Format(
    name="executorch",
    suffix=".pte",
    title="ExecuTorch with XNNPACK",
    runtime="ExecuTorch",
    write=write_program,
    ready=in_executorch,
    packages=("executorch",),
    extra="executorch",
)
