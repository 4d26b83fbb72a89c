import logging
import os

import pytest

from virtualpool.errors import VirtualPoolError
from virtualpool.tasks.folders import ClassFolders, without_labels

from .conftest import write_image


@pytest.fixture
def folder(tmp_path):
    """Two images of cats, one of dogs, two elsewhere."""
    for path in (
        "all/cat/0.png",
        "all/cat/1.png",
        "all/dog/0.png",
        "else/0.png",
        "else/deep/1.png",
    ):
        write_image(tmp_path / path)
    return tmp_path


def labels(folder) -> list[int]:
    return ClassFolders(folder / "all").targets


@pytest.mark.parametrize(
    ("link", "target", "expected"),
    [
        ("cat/again", "all/cat", [0, 0, 1]),
        ("cat/up", "all", [0, 0, 1]),
        ("cat/far_up", ".", [0, 0, 1]),
        ("cat/more", "else", [0, 0, 0, 0, 1]),
        ("dog/more", "else", [0, 0, 1, 1, 1]),
        ("dog/deep", "else/deep", [0, 0, 1, 1]),
        ("dog/cats", "all/cat", [0, 0, 1, 1, 1]),
        ("cat/gone", "nowhere", [0, 0, 1]),
        ("cat/itself", "all/cat/itself", [0, 0, 1]),
    ],
)
def test_links_to_folders_are_followed_once(folder, caplog, link, target, expected):
    (folder / "all" / link).symlink_to(folder / target)
    with caplog.at_level(logging.WARNING):
        assert labels(folder) == expected
    is_loop = target in ("all/cat", "all", ".") and link.startswith("cat")
    assert (link in caplog.text) == is_loop


def test_two_links_to_one_folder_give_its_images_once(folder):
    for name in ("one", "two"):
        (folder / "all" / "dog" / name).symlink_to(folder / "else")
    assert labels(folder) == [0, 0, 1, 1, 1]


def test_two_folders_that_lead_to_each_other(folder):
    (folder / "else" / "back").symlink_to(folder / "all" / "cat")
    (folder / "all" / "cat" / "there").symlink_to(folder / "else")
    assert labels(folder) == [0, 0, 0, 0, 1]


def test_a_class_that_is_a_link(folder):
    (folder / "all" / "other").symlink_to(folder / "else")
    assert labels(folder) == [0, 0, 1, 2, 2]


@pytest.mark.skipif(os.getuid() == 0, reason="root can read all")
def test_a_folder_that_cannot_be_read_is_said(folder, caplog):
    closed = folder / "all" / "cat" / "closed"
    closed.mkdir(mode=0)
    assert labels(folder) == [0, 0, 1]
    assert str(closed) in caplog.text


def test_files_that_are_no_images_and_classes_without_any(folder):
    (folder / "all" / "cat" / "notes.txt").touch()
    write_image(folder / "all" / "dog" / "UPPER.PNG")
    assert labels(folder) == [0, 0, 1, 1]
    (folder / "all" / "cow").mkdir()
    with pytest.raises(FileNotFoundError, match="no image in the folder of the class cow"):
        labels(folder)


def test_images_without_labels_have_one_in_five_held_out(tmp_path):
    for place in range(11):
        write_image(tmp_path / str(place % 3) / f"{place}.png")
    train, test = without_labels(tmp_path)
    assert (len(train), len(test)) == (8, 3)
    assert len({*train, *test}) == 11
    assert without_labels(tmp_path) == (train, test)


@pytest.mark.parametrize("split", ["test", "val"])
def test_images_without_labels_keep_their_splits(tmp_path, split):
    train = write_image(tmp_path / "train" / "a.png")
    test = [write_image(tmp_path / split / name) for name in ("b.png", "deep/c.png")]
    assert without_labels(tmp_path) == ([train], test)


def test_folders_without_an_image_to_judge_by_are_refused(tmp_path):
    write_image(tmp_path / "some" / "train" / "a.png")
    (tmp_path / "some" / "test").mkdir()
    with pytest.raises(VirtualPoolError, match="no image in it or in its folders"):
        without_labels(tmp_path / "some")
    with pytest.raises(VirtualPoolError, match="no such folder"):
        without_labels(tmp_path / "none")
