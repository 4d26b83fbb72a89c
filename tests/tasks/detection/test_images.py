from itertools import islice
from typing import Any

import pytest
import torch

from virtualpool import VirtualPoolError
from virtualpool.tasks.detection import load_data
from virtualpool.tasks.detection.images import Images
from virtualpool.tasks.detection.voc import read_voc

DOG = ("dog", 3, 4, 15, 16)
CAT = ("cat", 1, 1, 9, 9)
HARD = ("cat", 20, 20, 25, 26, "difficult")


def read(folder, **options) -> Any:
    _, test, classes = read_voc(folder)
    return Images(test, classes, **options)


def test_evaluation_sees_all_objects(make_voc):
    image, target = read(make_voc(test={"a": [DOG, HARD]}), training=False)[0]
    assert (image.shape, image.dtype) == ((3, 30, 40), torch.float32)
    assert 0 <= image.min() < 0.1 < 0.7 < image.max() <= 1
    assert target["boxes"].tolist() == [[2, 3, 15, 16], [19, 19, 25, 26]]
    assert target["labels"].tolist() == [2, 1]
    assert target["ignored"].tolist() == [False, True]
    assert target["areas"].tolist() == [13 * 13, 6 * 7]


def test_training_sees_what_counts(make_voc):
    folder = make_voc(test={"a": [DOG, HARD], "b": [HARD], "c": []})
    images = read(folder, training=True, augmentation="none")
    [(_, target)] = [images[place] for place in range(len(images))]
    assert target["boxes"].tolist() == [[2, 3, 15, 16]]
    assert target["labels"].tolist() == [2]
    assert set(target) == {"boxes", "labels"}


@pytest.mark.parametrize("training", [False, True])
def test_a_loop_over_the_images_ends(make_voc, training):
    images = read(make_voc(test={"a": [DOG], "b": [CAT]}), training=training)
    assert len([*islice(images, 3)]) == 2


@pytest.mark.parametrize(
    ("augmentation", "expected"),
    [
        ("none", {(2, 3, 15, 16)}),
        ("flip", {(2, 3, 15, 16), (25, 3, 38, 16)}),
        (
            "flip both",
            {(2, 3, 15, 16), (25, 3, 38, 16), (2, 14, 15, 27), (25, 14, 38, 27)},
        ),
    ],
)
def test_boxes_are_flipped_with_their_image(make_voc, augmentation, expected):
    images = read(make_voc(test={"a": [DOG]}), training=True, augmentation=augmentation)
    torch.manual_seed(0)
    drawn = [images[0] for _ in range(40)]
    assert {tuple(target["boxes"][0].tolist()) for _, target in drawn} == expected
    assert all(type(target["boxes"]) is torch.Tensor for _, target in drawn)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("how", ["truncated", "gone"])
def test_unreadable_images(make_voc, how, workers):
    names = "abcd"
    folder = make_voc(train={name: [DOG] for name in names}, test={name: [CAT] for name in names})
    data = load_data(folder, batch_size=2, workers=workers, augmentation="none")
    broken = folder / "JPEGImages" / "b.jpg"
    if how == "gone":
        broken.unlink()
    else:
        broken.write_bytes(broken.read_bytes()[:200])
    assert [len(images) for images, _ in data.test] == [1, 2]
    assert data.skipped == [str(broken)]
    assert data.train is not None
    assert [len(images) for images, _ in data.train] == [2, 2]
    assert data.skipped == [str(broken)] * 2


def test_training_without_any_image_is_refused(make_voc):
    folder = make_voc(test={"a": [DOG]})
    images = read(folder, training=True)
    next(folder.glob("JPEGImages/*")).unlink()
    with pytest.raises(VirtualPoolError, match=r"None of the 1 training images .*a\.jpg"):
        images[0]


def test_an_unknown_augmentation_is_refused(make_voc):
    with pytest.raises(VirtualPoolError, match="'crop'; there are: none, flip, flip both"):
        read(make_voc(test={"a": [DOG]}), training=True, augmentation="crop")
