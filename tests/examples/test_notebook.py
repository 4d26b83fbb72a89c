"""The notebook runs from top to bottom, with fewer images."""

import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "first_steps.ipynb"
COUNTS = "SOLVING, JUDGING = 1000, 1000"
QUICK = {
    COUNTS: "SOLVING, JUDGING = 8, 20",
    "model, images)": "model, images, steps=0)",
    "batch=32": "batch=1",
    '["convs.1", "convs.3", "convs.4"]': '["convs.8"]',
}


def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    codes = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert COUNTS in codes[0]
    names = {"__name__": "notebook"}
    for number, code in enumerate(codes):
        quick = code
        for slow, fast in QUICK.items():
            quick = quick.replace(slow, fast)
        exec(compile(quick, f"cell {number}", "exec"), names)
    assert "equal: True" in capsys.readouterr().out
