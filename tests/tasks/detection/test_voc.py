import os
import re

import pytest
from PIL import Image

from virtualpool import VirtualPoolError
from virtualpool.tasks.detection.voc import is_voc, read_voc

from .conftest import image_at


def test_boxes_are_between_the_edges_of_pixels(make_voc):
    folder = make_voc(test={"a": [("dog", 1, 1, 40, 30), ("cat", 3, 4, 5, 6, "difficult")]})
    assert is_voc(folder)
    train, test, classes = read_voc(folder)
    [image] = test.images
    assert train is None
    assert classes == ["cat", "dog"]
    assert image.path == folder / "JPEGImages" / "a.jpg"
    assert image.boxes.tolist() == [[0, 0, 40, 30], [2, 3, 5, 6]]
    assert image.labels.tolist() == [2, 1]
    assert image.ignored.tolist() == [False, True]


DOG = [("dog", 3, 4, 15, 16)]


@pytest.mark.parametrize(
    ("splits", "train", "test"),
    [
        (["train", "val"], "train", "val"),
        (["train", "val", "test"], "train", "test"),
        (["train", "val", "trainval", "test"], "trainval", "test"),
        (["val"], None, "val"),
    ],
)
def test_which_splits_are_used(make_voc, splits, train, test):
    folder = make_voc(**{name: {name: DOG} for name in splits})
    found = [each and each.images[0].path.stem for each in read_voc(folder)[:2]]
    assert found == [train, test]


@pytest.mark.parametrize("box", [(504, 337, 504, 337), (9, 2, 9, 20), (60, 2, 80, 20)])
def test_empty_boxes_and_those_outside_are_left_out(make_voc, box):
    folder = make_voc(test={"a": [("dog", *box), *DOG]})
    _, test, _ = read_voc(folder)
    assert len(test.images[0].boxes) == 1
    [(path, why)] = test.dropped
    assert path.name == "a.jpg"
    assert why.startswith("dog (")


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("Annotations/b.xml", None, "FileNotFoundError"),
        ("Annotations/b.xml", b"<annotation><object>", "ParseError"),
        ("Annotations/b.xml", b"", "ParseError"),
        ("Annotations/b.xml", b"<annotation>text</annotation>", "b.xml is no annotation"),
        ("Annotations/b.xml", b"<note><object/></note>", "b.xml is no annotation"),
        ("Annotations/b.xml", b"\xff\xfe<annotation/>", "ParseError"),
        ("Annotations/b.xml", b"<annotation><object/></annotation>", "<object> has 0 <bndbox>"),
        ("JPEGImages/b.jpg", None, "FileNotFoundError"),
        ("JPEGImages/b.jpg", b"no image", "UnidentifiedImageError"),
    ],
)
def test_an_image_that_cannot_be_used_is_left_out(make_voc, file, content, why):
    folder = make_voc(test={"a": DOG, "b": DOG, "c": DOG})
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)
    _, test, _ = read_voc(folder)
    assert [image.path.stem for image in test.images] == ["a", "c"]
    [(path, said)] = test.skipped.items()
    assert path == folder / "JPEGImages" / "b.jpg"
    assert said.startswith(why)


NAME = "<name>dog</name>"
BOX = "<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
BAD_OBJECTS = {
    "two names": (NAME * 2 + BOX, "<object> has 2 <name> in place of one"),
    "no name": (BOX, "<object> has 0 <name>"),
    "an empty name": (f"<name> </name>{BOX}", "<name> of <object> is no text"),
    "a name with parts": (f"<name>a<b>c</b></name>{BOX}", "<name> of <object> is no text"),
    "two boxes": (NAME + BOX * 2, "<object> has 2 <bndbox>"),
    "no side": (NAME + BOX.replace("xmin", "x"), "<bndbox> has 0 <xmin>"),
    "two sides": (NAME + BOX.replace("xmax", "xmin"), "<bndbox> has 2 <xmin>"),
    "text": (NAME + BOX.replace("2", "two"), "<xmin> of <bndbox> is 'two', which is no number"),
    "nan": (NAME + BOX.replace("2", "nan"), "<xmin> of <bndbox> is 'nan'"),
    "huge": (NAME + BOX.replace("2", "1e999"), "<xmin> of <bndbox> is '1e999'"),
}


@pytest.mark.parametrize("case", BAD_OBJECTS)
def test_an_image_with_a_bad_object_is_left_out(make_voc, case):
    content, why = BAD_OBJECTS[case]
    folder = make_voc(test={"a": DOG, "b": DOG, "c": DOG})
    good = f"<object>{NAME}{BOX}</object>"
    (folder / "Annotations" / "b.xml").write_text(
        f"<annotation>{good}<object>{content}</object></annotation>"
    )
    _, test, classes = read_voc(folder)
    assert [image.path.stem for image in test.images] == ["a", "c"]
    assert classes == ["dog"]
    [(path, said)] = test.skipped.items()
    assert path.stem == "b"
    assert re.match(why, said)


def test_what_is_nested_deeply_beside_an_object_does_not_matter(make_voc):
    folder = make_voc(test={"a": DOG})
    file = folder / "Annotations" / "a.xml"
    text = file.read_text()
    file.write_text(text.replace("</annotation>", "<a>" * 30000 + "</a>" * 30000 + "</annotation>"))
    _, test, _ = read_voc(folder)
    assert test.images[0].boxes.tolist() == [[2, 3, 15, 16]]


def test_a_pipe_and_a_bomb_are_left_out(make_voc, monkeypatch):
    folder = make_voc(test={"a": DOG, "b": DOG, "c": DOG})
    image = folder / "JPEGImages" / "b.jpg"
    image.unlink()
    os.mkfifo(image)
    image_at(folder / "JPEGImages" / "c.jpg", size=(50, 50))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1201)
    _, test, _ = read_voc(folder)
    assert [found.path.stem for found in test.images] == ["a"]
    assert ["regular" in why or "Bomb" in why for why in test.skipped.values()] == [True, True]


def test_a_list_that_is_no_text_is_named(make_voc):
    folder = make_voc(test={"a": DOG})
    (folder / "ImageSets" / "Main" / "test.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(VirtualPoolError, match=r"test\.txt: not a list of names"):
        read_voc(folder)


def test_a_split_of_which_nothing_is_left_is_refused(make_voc):
    folder = make_voc(train={"a": DOG}, test={"b": DOG})
    (folder / "Annotations" / "b.xml").write_text("<annotation>")
    with pytest.raises(VirtualPoolError, match=r"test\.txt: none of .*b\.jpg: ParseError"):
        read_voc(folder)


def test_a_test_split_is_needed(make_voc):
    with pytest.raises(VirtualPoolError, match=r"test\.txt nor val\.txt is there; VOC's layout is"):
        read_voc(make_voc(train={"a": DOG}))
