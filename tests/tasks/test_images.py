from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from virtualpool.errors import VirtualPoolError
from virtualpool.tasks import images as images_module
from virtualpool.tasks.images import Images
from virtualpool.tasks.preprocessing import Preprocessing

SMALL = Preprocessing(8)


def as_it_is(batch):
    return batch


def gone_through(images: Images, workers: int, batch_size: int = 4):
    """All batches, by a loader as `load_data` makes them."""
    return list(DataLoader(images, batch_size, num_workers=workers, collate_fn=as_it_is))


@pytest.fixture
def source(make_folder) -> ImageFolder:
    """Six images in two classes."""
    return ImageFolder(make_folder({"all": {"cat": 3, "dog": 3}}, suffix=".jpg") / "all")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("how", ["truncated", "text", "empty", "gone", "folder"])
def test_evaluation_goes_without_unreadable_images(source, break_file, how, workers):
    for index in (1, 5):
        break_file(source_path(source, index), how)
    images = Images(source, SMALL, training=False)
    (first, labels), (second, more_labels) = gone_through(images, workers)
    assert (first.shape, second.shape) == ((3, 3, 8, 8), (1, 3, 8, 8))
    assert (labels.tolist(), more_labels.tolist()) == ([0, 0, 1], [1])
    assert images.skipped == [source.samples[1][0], source.samples[5][0]]


@pytest.mark.parametrize("training", [False, True])
def test_a_loop_over_the_images_ends(source, training):
    images: Any = Images(source, SMALL, training=training)
    assert len([*islice(images, 7)]) == 6


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("augmentation", ["none", "resized crop"])
def test_training_takes_the_next_image_instead(source, break_file, augmentation, workers):
    for index in (1, 2, 5):
        break_file(source_path(source, index), "text")
    images = Images(source, Preprocessing(8, augmentation=augmentation), training=True)
    (first, labels), (second, more_labels) = gone_through(images, workers)
    assert (len(first), len(second)) == (4, 2)
    assert labels.tolist() == [0, 1, 1, 1]
    assert more_labels.tolist() == [1, 0]
    if augmentation == "none":
        assert torch.equal(first[1], first[2])
        assert torch.equal(first[1], first[3])
        assert torch.equal(second[1], first[0])
    assert images.skipped == [source.samples[index][0] for index in (1, 2, 5)]


def source_path(source: ImageFolder, index: int) -> Path:
    return Path(source.samples[index][0])


def test_what_was_not_met_is_not_skipped(source, break_file):
    break_file(source_path(source, 5), "empty")
    images = Images(source, SMALL, training=False)
    images[0]
    assert images.skipped == []
    pixels, labels = images[5]
    assert (pixels.shape, labels.shape) == ((0, 3, 8, 8), (0,))
    assert images.skipped == [source.samples[5][0]]


def test_unreadable_images_are_told_once(source, break_file, caplog):
    break_file(source_path(source, 0), "text")
    images = Images(source, SMALL, training=False)
    for _ in range(3):
        images[0]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert source.samples[0][0] in caplog.text


def test_training_on_nothing_is_refused(source, break_file):
    for index in range(6):
        break_file(source_path(source, index), "text")
    with pytest.raises(VirtualPoolError, match=r"None of the 6 training images .*cat.0\.jpg"):
        Images(source, SMALL, training=True)[0]


@pytest.mark.parametrize(
    ("training", "preprocessing", "limit", "kept"),
    [
        (False, Preprocessing(8), 6 * 3 * 64, True),
        (False, Preprocessing(8), 6 * 3 * 64 - 1, False),
        (False, Preprocessing(65, augmentation="resized crop"), 1 << 30, True),
        (True, Preprocessing(64, augmentation="crop"), 1 << 30, True),
        (True, Preprocessing(65, augmentation="crop"), 1 << 30, False),
        (True, Preprocessing(8, augmentation="resized crop"), 1 << 30, False),
    ],
)
def test_images_that_fit_are_decoded_once(
    source, monkeypatch, training, preprocessing, limit, kept
):
    monkeypatch.setattr(images_module, "MEMORY_LIMIT", limit)
    opened = []
    source.loader = lambda path, load=source.loader: opened.append(path) or load(path)
    images = Images(source, preprocessing, training=training)
    assert images.in_memory == kept
    for _ in range(3):
        gone_through(images, workers=0)
    assert len(opened) == (6 if kept else 18)


def test_some_of_the_images(source):
    images = Images(source, SMALL, training=False, indices=[5, 0, 3])
    assert len(images) == 3
    pixels, labels = images.__getitems__([0, 1, 2])
    assert labels.tolist() == [1, 0, 1]
    whole = Images(source, SMALL, training=False)
    assert torch.equal(pixels, whole.__getitems__([5, 0, 3])[0])
    assert images.classes == ["cat", "dog"]
