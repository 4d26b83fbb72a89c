"""Whether a network that is traced becomes a program for other runtimes, or code for PyTorch."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch.onnx import is_in_onnx_export

_for_onnx_runtime = ContextVar("for ONNX Runtime", default=False)


@contextmanager
def for_onnx_runtime() -> Iterator[None]:
    """ONNX files that are made in the block have the form that is fastest in ONNX Runtime.

    It is for networks in float32, as written or fused, and gives the same numbers. Without it files
    have a form that suits other runtimes, such as OpenVINO, and files that are quantised.

    >>> import virtualpool
    >>> with virtualpool.for_onnx_runtime():
    ...     pass  # torch.onnx.export(fast, (images,), "fast.onnx", dynamo=True)
    """
    token = _for_onnx_runtime.set(True)
    try:
        yield
    finally:
        _for_onnx_runtime.reset(token)


def is_exporting() -> bool:
    """Whether `torch.export` makes a program, for ONNX too; `torch.compile` makes none."""
    # Not `torch.compiler.is_exporting()`: for Dynamo of PyTorch 2.9 and 2.11 that is true while it
    # compiles, and compiled networks had the forms that are for other runtimes.
    return torch.compiler._is_exporting_flag


def is_captured() -> bool:
    """Whether what is computed is captured to be computed again: compiled, exported, or traced."""
    return torch.compiler.is_compiling() or is_traced_by_jit()


def is_traced_by_jit() -> bool:
    """Whether a TorchScript is being traced, as by ONNX's older exporter."""
    return torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]


def is_exporting_program() -> bool:
    """Whether `torch.export` makes a program, and not for an ONNX file."""
    return is_exporting() and not _is_in_onnx_export()


def is_exporting_onnx() -> bool:
    """Whether `torch.export` makes what is written to an ONNX file then."""
    return is_exporting() and _is_in_onnx_export()


def is_exporting_for_onnx_runtime() -> bool:
    """Whether that is in the form for ONNX Runtime; Dynamo knows none of its operations."""
    return (
        is_exporting_onnx() and not torch.compiler.is_dynamo_compiling() and _for_onnx_runtime.get()
    )


@torch.compiler.assume_constant_result
def _is_in_onnx_export() -> bool:
    # Dynamo, which the exporter tries last, takes PyTorch's own function for false.
    return is_in_onnx_export()
