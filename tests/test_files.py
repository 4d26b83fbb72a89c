import errno
import os
import stat
from pathlib import Path

import pytest

from virtualpool import VirtualPoolError
from virtualpool.files import (
    check_writable,
    made_folder,
    put_in_place,
    read_json,
    remove_half_written,
    replacing,
    write_json,
    write_text,
)


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
    kept = tmp_path / ".virtualpool-note"
    kept.write_text("the user's own")
    remove_half_written(tmp_path)
    assert sorted(tmp_path.iterdir()) == [kept, path]


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


@pytest.mark.parametrize("content", [b"", b'{"a": ', b"\xff\xfe", b"not json", b"[" * 200_000])
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


def test_what_is_no_file_is_never_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path / "link", os.devnull):
        with pytest.raises(VirtualPoolError, match=f"{path}: is a device or a pipe"):
            write_text(path, "text")
    assert (tmp_path / "pipe").is_fifo()


def test_of_a_link_the_target_is_written(tmp_path):
    places = {"link": "kept/new.txt", "second": "link", "former": "old.txt"}
    (tmp_path / "old.txt").write_text("former")
    for link, target in places.items():
        (tmp_path / link).symlink_to(target)
    for link, written in (("second", "kept/new.txt"), ("former", "old.txt")):
        for text in ("once", "again"):
            write_text(tmp_path / link, text)
            assert (tmp_path / link).is_symlink()
            assert (tmp_path / written).read_text() == text
    assert len(list(tmp_path.rglob("*"))) == 6


def test_a_link_to_itself_is_refused(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(VirtualPoolError, match="loop: cannot be written"):
        write_text(tmp_path / "loop", "text")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_line_with_the_name(tmp_path, number):
    path = tmp_path / "note.txt"
    message = r"note\.txt: cannot be written \(.+\); choose"
    with pytest.raises(VirtualPoolError, match=message), replacing(path) as beside:
        beside.write_text("half")
        raise OSError(number, os.strerror(number))
    assert list(tmp_path.iterdir()) == []


def test_what_the_block_itself_cannot_read_is_its_own_error(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "note.txt"):
        (tmp_path / "other.txt").read_text()
    assert list(tmp_path.iterdir()) == []


def test_a_place_is_checked_without_making_anything(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_writable(tmp_path / "new" / "deep" / "file")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    with pytest.raises(VirtualPoolError, match="cannot be written"):
        check_writable(tmp_path / "file" / "other")


def _folder(path: Path, text: str) -> Path:
    (path / "deep").mkdir(parents=True)
    (path / "deep" / "file").write_text(text)
    return path


def test_a_folder_takes_its_place_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = _folder(tmp_path / "one", "1"), _folder(tmp_path / "other", "2")
    place = tmp_path / "new" / "place"
    for made, text in ((one, "1"), (other, "2")):
        put_in_place(made, place)
        assert (place / "deep" / "file").read_text() == text
        assert [each.name for each in place.parent.iterdir()] == ["place"]

    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        put_in_place(one, place)
    assert (place / "deep" / "file").read_text() == "2"
    assert [each.name for each in place.parent.iterdir()] == ["place"]


def test_a_folder_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(VirtualPoolError, match="cannot be written"):
        put_in_place(_folder(tmp_path / "one", "1"), tmp_path / "file" / "place")
