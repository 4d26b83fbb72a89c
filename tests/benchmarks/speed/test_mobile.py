"""`mobile.py` as far as there is no ExecuTorch, and with it where it is installed."""

import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import fx, nn

from benchmarks.common import borrowed
from benchmarks.common.candidates import candidates
from benchmarks.common.comparison import Comparison, compare
from benchmarks.common.executorch_programs import Delegation
from benchmarks.speed.delegated import tables
from virtualpool.export.program import operators_of

HAS_EXECUTORCH = find_spec("executorch") is not None


def test_what_is_delegated() -> None:
    def executorch_call_delegate(*_: Any) -> None: ...

    graph = fx.Graph()
    map = graph.placeholder("map")
    for call in (executorch_call_delegate, torch.ops.aten.pad.default, torch.ops.aten.sum.default):
        for _ in range(2):
            map = graph.call_function(call, (map,))
    graph.output(graph.call_function(torch.ops.aten.sum.default, (map,)))
    found = Delegation.of(operators_of(graph))
    assert found.parts == 2
    assert str(found) == "3 sum.default, 2 pad.default"


def test_nothing_is_left() -> None:
    assert str(Delegation.of(Counter())) == "none"


@pytest.mark.parametrize("timed", [False, True])
def test_tables(tmp_path: Path, timed: bool) -> None:
    names = ["unmodified", "unfused"]
    for name in names:
        (tmp_path / f"{name}.pte").write_bytes(bytes(2_500_000))
        text = '{"parts": 3, "left": {"pad": 2}}'
        (tmp_path / f"{name}.json").write_text(text)
    samples: dict[str, Sequence[float]] = (
        {"unmodified": [4.0, 4.0], "unfused": [1.0, 2.0, 3.0]} if timed else {}
    )
    comparison = Comparison(
        "net",
        1,
        "executorch",
        "a machine",
        {"unmodified": 2e-6},
        samples,
        {"half resolution": "too far"},
    )
    found = tables(comparison, 32, tmp_path)
    assert "| unmodified | 3 | 2 pad | 2.5 | 2e-06 |" in found
    assert "| unfused | 3 | 2 pad | 2.5 | – |" in found
    assert "- half resolution was not timed: too far" in found
    assert ("| unfused | 1.20 | 2.00 | 2.80 | 2.00 |" in found) == timed


def test_it_starts_again_where_executorch_is(
    program: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def environment(path: Path, *requirements: str) -> str:
        assert any(each.startswith("executorch==") for each in requirements)
        return str(path / "python")

    def run(command: list[str], check: bool) -> SimpleNamespace:
        started.append(command)
        return SimpleNamespace(returncode=3)

    def found(name: str, *package: str) -> Any:
        return None if name == "executorch" else find_spec(name, *package)

    monkeypatch.setattr("importlib.util.find_spec", found)
    monkeypatch.setattr(borrowed, "environment", environment)
    monkeypatch.setattr(subprocess, "run", run)
    arguments = ["--run-dir", str(tmp_path)]
    with pytest.raises(SystemExit) as ended:
        program("speed.mobile", *arguments)
    assert ended.value.code == 3
    python = str(tmp_path / "environment" / "python")
    assert started == [[python, "-m", "benchmarks.speed.mobile", *arguments]]


@pytest.mark.skipif(not HAS_EXECUTORCH, reason="ExecuTorch is not installed")
@pytest.mark.filterwarnings("default")
@torch.no_grad()
def test_a_fused_network_is_left_to_xnnpack(tmp_path: Path) -> None:
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3)]
    images = torch.randn(1, 3, 13, 16)
    compared = candidates(nn.Sequential(*layers, nn.ReLU()), images)
    comparison = compare(compared, "net", "executorch", duration_s=0, threads=1, folder=tmp_path)
    assert not comparison.failures
    for name in compared:
        found = Delegation.beside(tmp_path / f"{name}.pte")
        assert (found.parts, found.left) == (1, {})
