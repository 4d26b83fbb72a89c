import json
from pathlib import Path

import pytest

from virtualpool.documents import SCHEMA
from virtualpool.errors import VirtualPoolError
from virtualpool.records import append_line, append_record, read_records, write_records


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


@pytest.mark.parametrize("record", [{"step": 1}, {"schema": 7}, {"content": [1], "step": 2}, {}])
def test_each_record_says_the_version_of_its_schema(tmp_path, record):
    path = tmp_path / "training.jsonl"
    append_record(path, record)
    write_records(path, read_records(path))
    assert json.loads(path.read_text())["schema"] == SCHEMA
    assert read_records(path) == [record]


def test_a_record_of_a_newer_version_names_its_file(tmp_path):
    path = tmp_path / "training.jsonl"
    path.write_text(json.dumps({"schema": SCHEMA + 1, "step": 1}) + "\n")
    with pytest.raises(VirtualPoolError, match=r"training\.jsonl.* has schema 3"):
        read_records(path)


def test_a_record_of_the_first_version_has_no_schema(tmp_path):
    path = tmp_path / "training.jsonl"
    path.write_text('{"step": 1}\n')
    assert read_records(path) == [{"step": 1}]
