import json

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


@pytest.mark.parametrize(
    ("split", "content", "said"),
    [
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
