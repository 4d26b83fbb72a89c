import json
import re

import pytest

from virtualpool import VirtualPoolError
from virtualpool.tasks.detection.coco import is_coco, read_coco

pytest.importorskip("pycocotools")

CATEGORIES = {7: "zebra", 3: "ant"}
ANT = [{"category_id": 3, "bbox": [2, 3, 10, 5], "area": 30.5}]


def test_boxes_and_classes(make_coco, capsys):
    crowd = {"category_id": 7, "bbox": [0, 0, 40, 30], "iscrowd": 1}
    folder = make_coco(CATEGORIES, train2017={"a.jpg": ANT}, val2017={"b.jpg": [*ANT, crowd]})
    assert is_coco(folder)
    train, test, classes = read_coco(folder)
    assert classes == ["ant", "zebra"]
    assert train is not None
    assert [image.path for image in train.images] == [folder / "train2017" / "a.jpg"]
    [image] = test.images
    assert image.boxes.tolist() == [[2, 3, 12, 8], [0, 0, 40, 30]]
    assert image.labels.tolist() == [1, 2]
    assert image.ignored.tolist() == [False, True]
    assert image.areas.tolist() == [30.5, 1200]
    assert capsys.readouterr().out == ""


def test_what_cannot_be_used_is_left_out(make_coco):
    outside = {"category_id": 3, "bbox": [50, 3, 10, 5]}
    folder = make_coco(CATEGORIES, test={"a.jpg": [*ANT, outside], "b.jpg": ANT})
    (folder / "test" / "b.jpg").unlink()
    train, test, _ = read_coco(folder)
    assert train is None
    assert [image.path.name for image in test.images] == ["a.jpg"]
    assert [path.name for path, _ in test.dropped] == ["a.jpg"]
    assert test.skipped == {folder / "test" / "b.jpg": "there is no such file"}


BAD_BOXES = {
    "no box": ({"category_id": 3}, "is None in place of four numbers"),
    "three numbers": ({"category_id": 3, "bbox": [1, 2, 3]}, r"is \[1, 2, 3\] in place of four"),
    "texts": ({"category_id": 3, "bbox": ["1", 2, 3, 4]}, "in place of four numbers"),
    "nan": ({"category_id": 3, "bbox": [float("nan"), 2, 3, 4]}, "in place of four numbers"),
    "huge": ({"category_id": 3, "bbox": [10**400, 2, 3, 4]}, "in place of four numbers"),
    "a box that is none": ({"category_id": 3, "bbox": 5}, "is 5 in place of four numbers"),
    "unknown": ({"category_id": 4, "bbox": [1, 2, 3, 4]}, "of the category 4, which is not there"),
    "unhashable": ({"category_id": [3], "bbox": [1, 2, 3, 4]}, r"of the category \[3\]"),
    "area": ({"category_id": 3, "bbox": [1, 2, 3, 4], "area": "x"}, "has an area of 'x'"),
}


@pytest.mark.parametrize("case", BAD_BOXES)
def test_an_image_with_a_bad_box_is_left_out(make_coco, case):
    box, why = BAD_BOXES[case]
    _, test, _ = read_coco(make_coco(CATEGORIES, test={"a.jpg": ANT, "b.jpg": [*ANT, box]}))
    assert [image.path.name for image in test.images] == ["a.jpg"]
    [(path, said)] = test.skipped.items()
    assert path.name == "b.jpg"
    assert re.search(why, said)


BAD_ENTRIES = {
    "an image without an id": ("images", {"file_name": "a.jpg"}, "no id or no file_name"),
    "an image without a name": ("images", {"id": 7}, "no id or no file_name"),
    "an image that is a text": ("images", "a.jpg", "no id or no file_name"),
    "an image that is nothing": ("images", None, "no id or no file_name"),
    "no size": ("images", {"id": 7, "file_name": "a.jpg"}, "width and height are no numbers"),
    "twice": ("images", {"id": 1, "file_name": "a.jpg", "width": 9, "height": 9}, "another image"),
    "a box of no image": ("annotations", {"category_id": 3}, "annotations[1] is of no image"),
    "a box of another image": ("annotations", {"image_id": 8}, "annotations[1] is of no image"),
    "a box of a list": ("annotations", {"image_id": [1]}, "annotations[1] is of no image"),
    "a box that is nothing": ("annotations", None, "annotations[1] is of no image"),
    "a class without a name": ("categories", {"id": 9}, ""),
}


@pytest.mark.parametrize("case", BAD_ENTRIES)
def test_a_bad_entry_is_left_out_alone(make_coco, case):
    part, entry, why = BAD_ENTRIES[case]
    folder = make_coco(CATEGORIES, test={"a.jpg": ANT})
    file = folder / "annotations" / "instances_test.json"
    content = json.loads(file.read_text())
    content[part].append(entry)
    file.write_text(json.dumps(content))
    _, test, classes = read_coco(folder)
    assert [image.path.name for image in test.images] == ["a.jpg"]
    assert classes == ["ant", "zebra"]
    left_out = test.left_out()
    assert why in left_out
    assert ("instances_test.json" in left_out) == bool(why)


@pytest.mark.parametrize(
    ("split", "content", "said"),
    [
        ("val", "[" * 100_000, "instances_val.json: not a COCO file"),
        ("val", '{"images": []}', "instances_val.json: not a COCO file; it must hold lists of"),
        ("val", "{", "instances_val.json: not a COCO file"),
        ("val", "[]", "instances_val.json: not a COCO file"),
        ("train", json.dumps({"images": [], "annotations": [], "categories": []}), "other classes"),
    ],
)
def test_broken_files_are_refused(make_coco, split, content, said):
    folder = make_coco(CATEGORIES, train={"a.jpg": ANT}, val={"b.jpg": ANT})
    (folder / "annotations" / f"instances_{split}.json").write_text(content)
    with pytest.raises(VirtualPoolError, match=said):
        read_coco(folder)


def test_a_split_without_images_and_a_missing_one_are_refused(make_coco):
    folder = make_coco(CATEGORIES, train={"a.jpg": ANT})
    with pytest.raises(VirtualPoolError, match=r"no annotations/instances_test\*\.json or"):
        read_coco(folder)
    make_coco(CATEGORIES, val={"b.jpg": ANT})
    (folder / "val" / "b.jpg").unlink()
    with pytest.raises(VirtualPoolError, match="none of its 1 images is in"):
        read_coco(folder)
