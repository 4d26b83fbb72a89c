from collections import Counter
from pathlib import Path

import pytest
import torch

from virtualpool.errors import VirtualPoolError
from virtualpool.tasks.classification import Preprocessing, load_data

SMALL = Preprocessing(8, augmentation="crop")
TWO = {"train": {"cat": 5, "dog": 4}, "test": {"cat": 3, "dog": 4}}


def test_batches(make_folder):
    data = load_data(make_folder(TWO), preprocessing=SMALL, batch_size=4)
    assert data.classes == ["cat", "dog"]
    assert data.train is not None
    batches = list(data.train)
    assert [(len(images), len(labels)) for images, labels in batches] == [(4, 4), (4, 4)]
    (images, labels), (_, more) = data.test
    assert torch.cat([labels, more]).tolist() == [0] * 3 + [1] * 4
    assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_training_is_shuffled_by_torchs_seed(make_folder):
    data = load_data(make_folder(TWO), preprocessing=Preprocessing(8), batch_size=8)
    assert data.train is not None
    orders = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        orders.append(next(iter(data.train))[0])
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])


def test_fewer_images_than_a_batch_are_one_batch(make_folder):
    data = load_data(make_folder(TWO), preprocessing=SMALL, batch_size=100)
    assert data.train is not None
    assert [len(labels) for _, labels in data.train] == [9]


def test_only_test_images(make_folder):
    data = load_data(make_folder({"val": TWO["test"]}), preprocessing=SMALL)
    assert data.train is None
    assert len(list(data.test)) == 1
    assert data.skipped == []


def test_skipped_images_of_both_splits_are_named(make_folder, break_file):
    root = make_folder(TWO)
    broken = [root / "train/cat/1.png", root / "test/dog/2.png"]
    for path in broken:
        break_file(path, "truncated")
    data = load_data(root, preprocessing=SMALL, batch_size=3)
    assert data.skipped == [], "nothing was read yet"
    for loader in (data.train, data.test):
        assert loader is not None
        for _ in range(2):
            assert sum(len(labels) for _, labels in loader) == (9 if loader is data.train else 6)
    assert [Path(name) for name in data.skipped] == broken


@pytest.mark.parametrize(
    ("size", "augmentation", "workers", "expected"),
    [
        (64, "crop", 2, (0, 0)),
        (65, "crop", 2, (2, 2)),
        (64, "resized crop", 2, (2, 0)),
        (65, "crop", 0, (0, 0)),
    ],
)
def test_small_images_need_no_workers(make_folder, size, augmentation, workers, expected):
    preprocessing = Preprocessing(size, augmentation=augmentation)
    data = load_data(make_folder(TWO), preprocessing=preprocessing, workers=workers)
    assert data.train is not None
    assert (data.train.num_workers, data.test.num_workers) == expected
    # A worker that lives on would draw other augmentations after a kill than without one.
    assert not data.train.persistent_workers


def test_workers_give_the_same_images(make_folder):
    root = make_folder(TWO)
    (with_workers, without) = (
        list(load_data(root, preprocessing=Preprocessing(65), batch_size=2, workers=workers).test)
        for workers in (2, 0)
    )
    assert len(with_workers) == len(without) == 4
    for one, other in zip(with_workers, without, strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


THREE = {"test": {"a": 9, "b": 6, "c": 2}}


class TestSubset:
    def labels(self, root, **options):
        data = load_data(root, preprocessing=SMALL, **options)
        return [int(label) for _, labels in data.test for label in labels]

    @pytest.mark.parametrize(
        ("count", "counts"),
        [(3, [1, 1, 1]), (6, [2, 2, 2]), (10, [4, 4, 2]), (17, [9, 6, 2])],
    )
    def test_it_has_as_many_of_each_class_as_can_be(self, make_folder, count, counts):
        found = Counter(self.labels(make_folder(THREE), subset=count))
        assert [found[label] for label in range(3)] == counts

    def test_a_remainder_is_shared_out(self, make_folder):
        found = Counter(self.labels(make_folder(THREE), subset=5))
        assert sorted(found.values()) == [1, 2, 2]

    def test_the_seed_chooses(self, make_folder):
        root = make_folder(THREE)
        chosen = [
            load_data(root, preprocessing=SMALL, subset=6, seed=seed).test for seed in (0, 0, 1)
        ]
        images = [torch.cat([images for images, _ in loader]) for loader in chosen]
        assert torch.equal(images[0], images[1])
        assert not torch.equal(images[0], images[2])

    @pytest.mark.parametrize("count", [0, -1, 18])
    def test_more_than_there_are_is_refused(self, make_folder, count):
        with pytest.raises(VirtualPoolError, match=rf"subset of {count} .* of 17 test images"):
            self.labels(make_folder(THREE), subset=count)


def test_a_folder_without_classes(make_folder):
    folder = make_folder({"some": {"a": 5, "b": 5}})
    with pytest.raises(VirtualPoolError, match=r"without labels \(--no-labels\) from any"):
        load_data(folder, preprocessing=Preprocessing(8))
    data = load_data(folder, preprocessing=Preprocessing(8), labels=False)
    assert data.train is not None
    found = [sum(len(images) for images, _ in part) for part in (data.train, data.test)]
    assert found == [8, 2]
    assert len(next(iter(data.some_training_images(6)))[0]) == 6


def test_folders_of_classes_are_read_as_such_without_labels(make_folder):
    folder = make_folder({"train": {"a": 2, "b": 2}, "test": {"a": 1, "b": 1}})
    assert load_data(folder, preprocessing=Preprocessing(8), labels=False).classes == ["a", "b"]


def test_a_folder_without_preprocessing_is_refused(make_folder):
    with pytest.raises(VirtualPoolError, match="say how these images are prepared"):
        load_data(make_folder(TWO))


def test_the_preprocessing_of_weights(make_folder):
    data = load_data(make_folder(TWO), preprocessing="ResNet18_Weights.IMAGENET1K_V1", workers=0)
    images, _ = next(iter(data.test))
    assert images.shape == (7, 3, 224, 224)


def test_some_training_images_come_as_they_are_and_mixed():
    data = load_data("sample:cifar10", subset=10, batch_size=16)
    every = list(data.some_training_images(40))
    labels = torch.cat([labels for _, labels in every])
    assert labels.bincount().tolist() == [4] * 10
    assert len(labels[-8:].unique()) > 2  # not the last classes alone are held out
    again = data.some_training_images(40)
    assert all(torch.equal(one, two) for (one, _), (two, _) in zip(every, again, strict=True))
    other = torch.cat([images for images, _ in data.some_training_images(40, seed=1)])
    assert not torch.equal(other, torch.cat([images for images, _ in every]))
    assert sum(len(it) for it, _ in data.some_training_images(1_000_000)) == 2000
