import pytest

from virtualpool import VirtualPoolError
from virtualpool.tasks.detection.voc import is_voc, read_voc


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
        ("Annotations/b.xml", b"<annotation>text</annotation>", "AttributeError"),
        ("Annotations/b.xml", b"<note><object/></note>", "KeyError"),
        ("Annotations/b.xml", b"<annotation><object><name>d</name></object></annotation>", "Key"),
        (
            "Annotations/b.xml",
            b"<annotation><object><name>d</name><bndbox><xmin>x</xmin><ymin>1</ymin><xmax>3</xmax>"
            b"<ymax>3</ymax></bndbox></object></annotation>",
            "ValueError",
        ),
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


def test_a_split_of_which_nothing_is_left_is_refused(make_voc):
    folder = make_voc(train={"a": DOG}, test={"b": DOG})
    (folder / "Annotations" / "b.xml").write_text("<annotation>")
    with pytest.raises(VirtualPoolError, match=r"test\.txt: none of .*b\.jpg: ParseError"):
        read_voc(folder)


def test_a_test_split_is_needed(make_voc):
    with pytest.raises(VirtualPoolError, match=r"test\.txt nor val\.txt is there; VOC's layout is"):
        read_voc(make_voc(train={"a": DOG}))
