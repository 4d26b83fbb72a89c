"""Who is told that it is exported: programs and ONNX files, and no results of `torch.compile`."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.operator.exporting import (
    exporting_for,
    is_exporting,
    is_exporting_for_onnx_runtime,
    is_exporting_program,
)

ONE = torch.ones(1)


class Told(nn.Module):
    """Gives 3 if a program is exported, 2 for an ONNX file, 1 otherwise."""

    def forward(self, one: Tensor) -> Tensor:
        return one * (1 + is_exporting() + is_exporting_program())


def test_eager():
    assert Told()(ONE).item() == 1


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled(dynamic: bool):
    torch.compiler.reset()
    compiled: Any = torch.compile(Told(), fullgraph=True, backend="eager", dynamic=dynamic)
    assert compiled(ONE).item() == 1


@pytest.mark.parametrize("strict", [False, True])
def test_a_program(strict: bool):
    program = torch.export.export(Told(), (ONE,), strict=strict)
    assert program.module()(ONE).item() == 3
    assert not is_exporting()


@pytest.mark.parametrize("strict", [False, True])
def test_an_onnx_file(strict: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("virtualpool.operator.exporting.is_in_onnx_export", lambda: True)
    assert torch.export.export(Told(), (ONE,), strict=strict).module()(ONE).item() == 2


class ToldOfOnnxRuntime(nn.Module):
    """Gives 2 if the operations are to be those for ONNX Runtime, 1 otherwise."""

    def forward(self, one: Tensor) -> Tensor:
        return one * (1 + is_exporting_for_onnx_runtime(one))


@pytest.mark.parametrize(
    ("dtype", "strict", "expected"),
    [(torch.float32, False, 2), (torch.float32, True, 1), (torch.float16, False, 1)],
)
def test_onnx_runtime_is_told_in_float32(
    dtype: torch.dtype, strict: bool, expected: int, monkeypatch: pytest.MonkeyPatch
):
    def told() -> float:
        one = ONE.to(dtype)
        program = torch.export.export(ToldOfOnnxRuntime(), (one,), strict=strict)
        return program.module()(one).item()

    assert told() == 1
    monkeypatch.setattr("virtualpool.operator.exporting.is_in_onnx_export", lambda: True)
    assert told() == 1
    with exporting_for("onnxruntime-cpu"):
        assert told() == expected
        with exporting_for("any"):
            assert told() == 1
        assert told() == expected
    assert told() == 1


def test_other_uses_are_refused():
    refused: Any = "tensorrt"
    with (
        pytest.raises(VirtualPoolError, match="there are any, onnxruntime-cpu"),
        exporting_for(refused),
    ):
        pass
