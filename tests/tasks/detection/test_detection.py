"""`load_data`: which layout, which images, and which are left out."""

import pytest
import torch
from PIL import Image

from virtualpool import VirtualPoolError
from virtualpool.tasks.detection import load_data

DOG = ("dog", 3, 4, 15, 16)
OUTSIDE = ("dog", 90, 90, 95, 95)


def test_voc(make_voc):
    data = load_data(make_voc(train={"a": [DOG, OUTSIDE]}, test={"b": [DOG]}), workers=0)
    assert data.classes == ["dog"]
    assert data.train is not None
    for loader in (data.train, data.test):
        [(images, targets)] = loader
        assert [tuple(image.shape) for image in images] == [(3, 30, 40)]
        assert targets[0]["labels"].tolist() == [1]
    assert len(data.splits["train"].dropped) == 1
    assert data.skipped == []
    assert "tensor(" not in repr(data)  # a page for each image


def test_coco(make_coco):
    pytest.importorskip("pycocotools")
    annotations = {"a.jpg": [{"category_id": 5, "bbox": [1, 2, 3, 4]}]}
    data = load_data(make_coco({5: "ant"}, val=annotations), workers=0)
    assert data.train is None
    assert list(data.splits) == ["test"]
    [(_, targets)] = data.test
    assert targets[0]["boxes"].tolist() == [[1, 2, 4, 6]]


def test_a_subset_is_the_same_each_time(make_voc):
    folder = make_voc(test={name: [DOG] for name in "abcdefgh"})
    first, again, other = (
        [target["boxes"] for _, targets in load_data(folder, subset=3, seed=seed, workers=0).test
         for target in targets]
        for seed in (0, 0, 1)
    )  # fmt: skip
    assert len(first) == len(again) == len(other) == 3


def test_some_training_images_come_as_they_are(make_voc):
    folder = make_voc(train={name: [DOG] for name in "abcde"}, test={"f": [DOG]})
    data = load_data(folder, augmentation="flip both", batch_size=2, workers=0)
    once, again = ([it for it, _ in data.some_training_images(4)] for _ in range(2))
    assert [len(images) for images in once] == [2, 2]
    for one, two in zip(once, again, strict=True):
        assert all(map(torch.equal, one, two))
    assert sum(len(images) for images, _ in data.some_training_images(100)) == 5
    with pytest.raises(VirtualPoolError, match="0 images cannot be taken of 5 training images"):
        data.some_training_images(0)


@pytest.mark.parametrize("count", [0, 2])
def test_a_subset_that_cannot_be_taken_is_refused(make_voc, count):
    with pytest.raises(VirtualPoolError, match=f"{count} images cannot be taken of 1 test"):
        load_data(make_voc(test={"a": [DOG]}), subset=count)


def test_folders_without_boxes_are_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(VirtualPoolError, match=r"VOC's layout is .* COCO's is"):
            load_data(folder)


def test_images_without_boxes(tmp_path):
    for place in range(6):
        Image.new("RGB", (10 + place, 8)).save(tmp_path / f"{place}.png")
    data = load_data(tmp_path, labels=False)
    assert data.train is not None
    assert (data.classes, len(data.splits["train"].images)) == ([], 4)
    images, targets = next(iter(data.train))
    assert [image.shape[1] for image in images] == [8, 8]
    assert [target["boxes"].shape for target in targets] == [(0, 4), (0, 4)]
    assert sum(len(images) for images, _ in data.test) == 2
    assert sum(len(images) for images, _ in data.some_training_images(3)) == 3


def test_training_images_without_objects_are_refused(make_voc):
    with pytest.raises(VirtualPoolError, match="no training image has an object to learn from"):
        load_data(make_voc(train={"a": [OUTSIDE]}, test={"b": [DOG]}))
