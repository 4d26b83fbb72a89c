"""Who is told that it is exported: programs and ONNX files, and not what `torch.compile` makes."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from virtualpool.exporting import is_exporting, is_exporting_program

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
    monkeypatch.setattr("virtualpool.exporting.is_in_onnx_export", lambda: True)
    assert torch.export.export(Told(), (ONE,), strict=strict).module()(ONE).item() == 2
