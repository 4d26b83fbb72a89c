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
    captions = [line for line in lines if line.endswith("float32:")]
    assert captions == [f"{each}, float32:" for each in ("eager", "training", "energy")]
    heads = [line for line in lines if line.startswith("| network")]
    units = ["ms", "ms", "mJ an image"]
    assert [head.split(" | ")[1] for head in heads] == [f"unmodified, {each}" for each in units]
    assert len([line for line in lines if line.startswith("| all_cnn_c, 1 of 32x32")]) == 3
    (missing,) = (line for line in lines if line.startswith("Not measured"))
    assert missing.startswith("Not measured: cudagraph, float32 of all_cnn_c, 1 of 32x32 (")


def test_without_time_nothing_begins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines = report(monkeypatch, tmp_path / "gpu.md", "--measure", "eager", "--budget-s", -1)
    assert lines[0] == "Not measured: eager, float32 of all_cnn_c, 1 of 32x32 (no time)."


def test_a_row() -> None:
    found = {"unmodified": 6.0} | dict.fromkeys(gpu.COLUMNS, 3.0)
    cells = gpu.row(gpu.Case("eager", "net", 8, "float32"), found)
    assert cells == ["net, 8 of 224x224", "6.00", *["2.00"] * 4]
