"""Whether a network that is traced becomes a program for other runtimes, and for which one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.onnx import is_in_onnx_export

from virtualpool.errors import VirtualPoolError
from virtualpool.torch_private import is_exporting

Use = Literal["any", "onnxruntime-cpu"]
_use: ContextVar[Use] = ContextVar("use", default="any")


@contextmanager
def exporting_for(use: Use) -> Iterator[None]:
    """Chooses the form of the ONNX files that are made in a `with` block.

    All forms give the same numbers. `virtualpool.export` chooses by itself.

    Args:
        use: "any", the default outside of the block: few operations, which every runtime has and
            which stay fast when they are quantised. "onnxruntime-cpu": for float32 on processors,
            in operations that keep the layout of ONNX Runtime's convolutions. Do not run this form
            on a GPU: ONNX Runtime before July 2026 reads its padding wrongly there.

    Raises:
        VirtualPoolError: there is no such use.

    >>> import virtualpool
    >>> with virtualpool.exporting_for("onnxruntime-cpu"):
    ...     pass  # torch.onnx.export(fast, (images,), "fast.onnx", dynamo=True)
    """
    if use not in get_args(Use):
        raise VirtualPoolError(f"exporting_for({use!r}): there are {', '.join(get_args(Use))}.")
    token = _use.set(use)
    try:
        yield
    finally:
        _use.reset(token)


def is_captured() -> bool:
    """Whether operations are captured to run again later: compiled, exported, or traced."""
    return torch.compiler.is_compiling() or is_traced_by_jit()


def is_traced_by_jit() -> bool:
    """Whether a TorchScript is being traced, as by ONNX's older exporter."""
    return torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]


def is_exporting_program() -> bool:
    """Whether `torch.export` makes a program, and not for an ONNX file."""
    return is_exporting() and not _is_in_onnx_export()


def is_exporting_onnx() -> bool:
    """Whether `torch.export` makes a program then for an ONNX file."""
    return is_exporting() and _is_in_onnx_export()


def is_exporting_open(size: Sequence[int]) -> bool:
    """Whether a program is made in which a size is open until it is run, odd ones and even ones."""
    return is_exporting() and not all(isinstance(length, int) for length in size)


def is_exporting_for_onnx_runtime(x: Tensor) -> bool:
    """Whether a map's operations are to be the ones with its convolutions' layout there.

    That is for float32 alone. Dynamo knows none of them.
    """
    is_known = x.dtype is torch.float32 and not torch.compiler.is_dynamo_compiling()
    return is_known and is_exporting_onnx() and _use.get() == "onnxruntime-cpu"


@torch.compiler.assume_constant_result
def _is_in_onnx_export() -> bool:
    # Dynamo, which the exporter tries last, takes PyTorch's own function for false.
    return is_in_onnx_export()
