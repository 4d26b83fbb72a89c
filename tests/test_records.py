import json
from pathlib import Path

import pytest

from virtualpool.records import append_line, read_records, write_records


@pytest.mark.parametrize(
    "before",
    ["", '{"step": 1}\n', '{"step": 1}', '{"step": 1}\n{"st', '{"step": 1}\n\xff{"step'],
)
def test_records_survive_a_cut_line(tmp_path, before):
    path = tmp_path / "training.jsonl"
    path.write_bytes(before.encode("latin-1"))
    append_line(path, json.dumps({"step": 2}))
    expected = [{"step": 1}, {"step": 2}] if before else [{"step": 2}]
    assert read_records(path) == expected
    write_records(path, expected[-1:])
    append_line(path, "[3]")
    assert read_records(path) == [{"step": 2}]


def test_no_file_has_no_records(tmp_path):
    assert read_records(Path(tmp_path / "none.jsonl")) == []
