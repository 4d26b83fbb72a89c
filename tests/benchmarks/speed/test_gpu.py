"""`gpu.py` on a CPU, as far as that can be: each kind of measurement, and the missing cells."""

import sys
from pathlib import Path

import pytest
import torch

from benchmarks.speed import gpu

COMMON = ("--network", "all_cnn_c", "--batch", 1, "--dtype", "float32", "--device", "cpu")


def report(monkeypatch: pytest.MonkeyPatch, file: Path, *arguments: object) -> list[str]:
    given = ["gpu", *COMMON, *arguments, "--markdown", file]
    monkeypatch.setattr(sys, "argv", [*map(str, given)])
    gpu.main()
    return file.read_text().splitlines()


@pytest.mark.skipif(torch.cuda.is_available(), reason="the sensor of a GPU would be read")
def test_each_kind_has_a_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kinds = ("--measure", "eager", "cudagraph", "training", "energy")
    meter = ("--energy-from", "echo 40", "--energy-duration-s", 0.2)
    lines = report(monkeypatch, tmp_path / "gpu.md", *kinds, *meter, "--duration-s", 0.01)
    heads = [line for line in lines if line.startswith("| network")]
    units = ["call, ms", "step, ms", "mJ an image"]
    assert [head.split(" | ")[4] for head in heads] == [f"unmodified, {each}" for each in units]
    assert [line.split(" | ")[3] for line in lines if line.startswith("| all_cnn_c")] == [
        "eager", "training", "energy",
    ]  # fmt: skip
    (missing,) = (line for line in lines if line.startswith("Not measured"))
    assert missing.startswith("Not measured: cudagraph of all_cnn_c, float32, batch 1 (")


def test_without_time_nothing_begins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines = report(monkeypatch, tmp_path / "gpu.md", "--measure", "eager", "--budget-s", -1)
    assert lines[0] == "Not measured: eager of all_cnn_c, float32, batch 1 (no time)."


def test_a_row() -> None:
    found = {"unmodified": 6.0, "half resolution": 2.0} | dict.fromkeys(gpu.COLUMNS[:-1], 3.0)
    cells = gpu.row(gpu.Case("eager", "net", 8, "float32"), found)
    assert cells == ["net", "8", "float32", "eager", "6", *["2.00"] * 3, "3.00", "0.67", "0.67"]
