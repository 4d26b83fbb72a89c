import os
import stat

import pytest

from virtualpool import VirtualPoolError
from virtualpool.files import made_folder, read_json, replacing, write_json, write_text


def test_writes_whole_files_into_new_folders(tmp_path):
    path = tmp_path / "new" / "folder" / "note.txt"
    write_text(path, "grüße")
    assert path.read_text(encoding="utf-8") == "grüße"
    write_text(str(path), "again")
    assert path.read_text() == "again"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError, SystemExit])
def test_a_failure_leaves_the_former_file_and_nothing_else(tmp_path, failure):
    path = tmp_path / "note.txt"
    path.write_text("former")
    with pytest.raises(failure), replacing(path) as beside:
        beside.write_text("half of the n")
        assert path.read_text() == "former"
        raise failure
    assert path.read_text() == "former"
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_process_leaves_the_former_file(tmp_path):
    path = tmp_path / "note.txt"
    path.write_text("former")
    child = os.fork()
    if child == 0:
        with replacing(path) as beside:
            beside.write_text("half of the n")
            os._exit(1)
    os.waitpid(child, 0)
    assert path.read_text() == "former"


def test_a_file_is_as_readable_as_any(tmp_path):
    path, usual = tmp_path / "note.txt", tmp_path / "usual.txt"
    usual.write_text("")
    write_text(path, "")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)


@pytest.mark.parametrize("value", [{"a": [1, 2.5, None, "ü"]}, [], 3])
def test_json(tmp_path, value):
    write_json(tmp_path / "value.json", value)
    assert read_json(tmp_path / "value.json") == value


def test_a_value_that_is_not_json_leaves_the_former_file(tmp_path):
    path = tmp_path / "value.json"
    write_json(path, 1)
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert read_json(path) == 1


@pytest.mark.parametrize("content", [b"", b'{"a": ', b"\xff\xfe", b"not json"])
def test_a_broken_file_is_refused_by_name(tmp_path, content):
    path = tmp_path / "value.json"
    path.write_bytes(content)
    with pytest.raises(VirtualPoolError, match=r"value\.json: not a JSON file"):
        read_json(path)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(VirtualPoolError, match=r"none\.json: cannot be read \(No such file"):
        read_json(tmp_path / "none.json")
    with pytest.raises(VirtualPoolError, match="cannot be read"):
        read_json(tmp_path)


def test_where_nothing_can_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(VirtualPoolError, match="is a folder; give the path of a file"):
        write_text(tmp_path, "text")
    with pytest.raises(VirtualPoolError, match=r"file: cannot be written \(.+\); choose another"):
        write_text(tmp_path / "file" / "below.txt", "text")
    with pytest.raises(VirtualPoolError, match="cannot be written"):
        made_folder(tmp_path / "file")
