import json
from pathlib import Path

from virtualpool.report.record import read


def test_the_steps_of_later_recoveries_go_on_from_the_earlier_ones(tmp_path: Path) -> None:
    (tmp_path / "round-01").mkdir()
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "rounds.json").write_text(json.dumps({"schema": 2, "content": [["0"]]}))
    records = [
        {"step": 1, "loss": 0.5},
        {"step": 2, "loss": 0.4},
        {"step": 1, "loss": 0.3, "recovery": 2},
        {"note": "no step", "recovery": 2},
        {"step": 4, "loss": 0.2, "recovery": 2},
        {"step": 1, "loss": 0.1, "recovery": 4},
    ]
    lines = "".join(f"{json.dumps(record)}\n" for record in records)
    (tmp_path / "round-01" / "training.jsonl").write_text(lines)
    (training,) = read(tmp_path).training
    assert [record["step"] for record in training] == [1, 2, 3, 6, 7]
    assert [record["loss"] for record in training] == [0.5, 0.4, 0.3, 0.2, 0.1]
