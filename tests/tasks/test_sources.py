import pickle
from urllib.error import URLError

import numpy as np
import pytest
from torchvision import datasets

from virtualpool.errors import VirtualPoolError
from virtualpool.models import CIFAR10_MEAN
from virtualpool.tasks.sources import open_source

TWO = {"cat": 2, "dog": 1}


@pytest.mark.parametrize("test", ["test", "val"])
def test_a_folder_of_splits(make_folder, test):
    source = open_source(make_folder({"train": TWO, test: {"cat": 1, "dog": 1}}))
    assert source.train is not None
    assert (source.train.targets, source.test.targets) == ([0, 0, 1], [0, 1])
    assert source.test.classes == ["cat", "dog"]
    assert source.preprocessing is None


def test_the_test_split_goes_before_val(make_folder):
    source = open_source(make_folder({"train": TWO, "val": TWO, "test": {"cat": 1, "dog": 1}}))
    assert len(source.test.targets) == 2


def test_a_folder_without_training_images(make_folder):
    assert open_source(make_folder({"val": TWO})).train is None


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (
            {"cat": {"": 2}, "dog": {"": 2}},
            r"no test, val, valid or validation folder in it, only cat, dog; images are read from "
            r".*<class>/<image>",
        ),
        ({"train": TWO}, "no test, val, valid or validation folder in it, only train"),
        ({f"class{n}": {"": 1} for n in range(8)}, "class4 and 3 more"),
        ({}, "no test, val, valid or validation folder in it, and no folder at all"),
        (
            {"train": {"cat": 1, "dog": 1}, "test": {"cat": 1, "cow": 1, "dog": 1}},
            "train has 2 classes and test 3; not in both: cow",
        ),
        ({"train": TWO, "test": {"cat": 1, "dog": 0}}, "dog"),
    ],
)
def test_other_layouts_are_refused(make_folder, layout, message):
    root = make_folder(layout)
    for split, classes in layout.items():
        for name in classes:
            (root / split / name).mkdir(parents=True, exist_ok=True)
    with pytest.raises(VirtualPoolError, match=message) as refused:
        open_source(root)
    assert str(root) in str(refused.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no/such/place", "no/such/place: no such folder; images are read from"),
        ("sample:mnist", "the only sample in the package is sample:cifar10"),
        ("torchvision:MNIST", "there are torchvision:CIFAR10, torchvision:CIFAR100"),
        ("torchvision:ImageNet", "needs its folder: torchvision:ImageNet:<root>"),
        ("torchvision:ImageNet:no/such/place", "torchvision's ImageNet is not in no/such/place"),
    ],
)
def test_unknown_sources_are_refused(source, message):
    with pytest.raises(VirtualPoolError, match=message):
        open_source(source)


def test_a_file_is_not_a_folder(tmp_path):
    (tmp_path / "cifar10.tar").touch()
    with pytest.raises(VirtualPoolError, match="no such folder"):
        open_source(tmp_path / "cifar10.tar")


def test_the_sample():
    source = open_source("sample:cifar10")
    assert source.preprocessing is not None
    assert (source.preprocessing.mean, source.preprocessing.size) == (CIFAR10_MEAN, 32)


@pytest.mark.parametrize("name", ["CIFAR10", "CIFAR100"])
@pytest.mark.parametrize("error", [URLError("no network"), RuntimeError("file is corrupted")])
def test_a_failed_download_is_one_clear_error(monkeypatch, cache, name, error):
    def fail(self):
        raise error

    monkeypatch.setattr(datasets.CIFAR10, "download", fail)  # CIFAR100 inherits it
    with pytest.raises(VirtualPoolError, match=rf"{name} is not in .* cannot be fetched") as failed:
        open_source(f"torchvision:{name}")
    assert str(cache) in str(failed.value)
    assert "\n" not in str(failed.value)


def test_cifar10_that_is_there_needs_no_network(monkeypatch, tmp_path):
    folder = tmp_path / "data" / datasets.CIFAR10.base_folder
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3072), dtype=np.uint8)
    for name, _ in datasets.CIFAR10.train_list + datasets.CIFAR10.test_list:
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": [3, 9]}))
    meta = {"label_names": [f"class{n}" for n in range(10)]}
    (folder / datasets.CIFAR10.meta["filename"]).write_bytes(pickle.dumps(meta))
    # The only thing that is not real: the checksums of the full files.
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    source = open_source(f"torchvision:CIFAR10:{tmp_path / 'data'}")
    assert source.train is not None
    assert (len(source.train.targets), source.test.targets) == (10, [3, 9])
    assert source.test[1][0].size == (32, 32)
    assert source.preprocessing is not None
    assert source.preprocessing.augmentation == "crop"
