import os

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from virtualpool.errors import VirtualPoolError
from virtualpool.tasks.decoding import in_colour, opened, size_of
from virtualpool.tasks.detection.images import decoded
from virtualpool.tasks.folders import ClassFolders
from virtualpool.tasks.images import Images
from virtualpool.tasks.preprocessing import Preprocessing

AS_IT_IS = Preprocessing(4, mean=(0, 0, 0), std=(1, 1, 1))


def full(value, dtype):
    return np.full((6, 6), value, dtype)


GREY = {
    "8 bits.png": full(128, np.uint8),
    "16 bits.png": full(32768, np.uint16),
    "16 bits.tiff": full(32768, np.uint16),
    "16 bits.pgm": full(32768, np.uint16),
    "float.tiff": full(0.5, np.float32),
    "colour.png": np.full((6, 6, 3), 128, np.uint8),
    "one bit.png": np.tile(np.array([[True, False], [False, True]]), (3, 3)),
}


@pytest.fixture
def classes(tmp_path):
    (tmp_path / "all" / "grey").mkdir(parents=True)
    return tmp_path / "all"


@pytest.mark.parametrize("name", GREY)
def test_grey_is_grey_whatever_its_numbers_are(classes, name):
    path = classes / "grey" / name
    Image.fromarray(GREY[name]).save(path)
    images = Images(ClassFolders(classes), AS_IT_IS, training=False)
    batch, labels = images[0]
    assert labels.tolist() == [0]
    assert float(batch.mean()) == pytest.approx(0.5, abs=0.005)
    found = decoded(path)
    assert found is not None
    assert float(found.mean()) == pytest.approx(0.5, abs=0.005)


@pytest.mark.parametrize(
    ("value", "dtype", "read"),
    [(0, np.uint16, 0), (65535, np.uint16, 255), (257, np.uint16, 1), (1, np.float32, 255)],
)
def test_black_white_and_between(value, dtype, read):
    assert in_colour(Image.fromarray(full(value, dtype))).getpixel((0, 0)) == (read,) * 3


OTHERS = {
    "floats.tiff": full(200.0, np.float32),
    "below.tiff": full(-0.1, np.float32),
    "nan.tiff": full(np.nan, np.float32),
    "32 bits.tiff": full(70000, np.int32),
}


@pytest.mark.parametrize("name", OTHERS)
def test_numbers_of_which_none_is_white_are_skipped_and_named(classes, name, caplog):
    path = classes / "grey" / name
    Image.fromarray(OTHERS[name]).save(path)
    images = Images(ClassFolders(classes), AS_IT_IS, training=False)
    assert len(images[0][1]) == 0
    assert images.skipped == [str(path)]
    assert f"{path} cannot be read and is skipped (it has" in caplog.text
    assert decoded(path) is None


def odd(path, how, monkeypatch):
    if how == "pipe":
        os.mkfifo(path)
    elif how == "link to itself":
        path.symlink_to(path)
    elif how == "device":
        path.symlink_to("/dev/zero")
    elif how == "long and narrow":
        Image.new("L", (60000, 1)).save(path)
        monkeypatch.setattr("virtualpool.tasks.preprocessing.LARGEST", 100_000)
    else:
        Image.new("L", (100, 100)).save(path)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)


@pytest.mark.parametrize("how", ["pipe", "link to itself", "device", "long and narrow", "bomb"])
def test_an_odd_file_is_skipped_and_named(classes, how, monkeypatch):
    good, bad = classes / "grey" / "0.png", classes / "grey" / "1.png"
    Image.new("L", (9, 9), 128).save(good)
    odd(bad, how, monkeypatch)
    images = Images(ClassFolders(classes), AS_IT_IS, training=False)
    batch, labels = images.__getitems__([0, 1])
    assert (len(batch), labels.tolist()) == (1, [0])
    assert images.skipped == [str(bad)]
    if how != "long and narrow":
        assert decoded(bad) is None
        with pytest.raises((VirtualPoolError, OSError, Image.DecompressionBombError)):
            size_of(bad)


def test_what_is_opened_is_as_in_its_file(classes):
    path = classes / "grey" / "0.png"
    Image.new("L", (3, 5), 7).save(path)
    assert (opened(path).mode, opened(path).size, size_of(path)) == ("L", (3, 5), (3, 5))
    assert [path for path, _ in ClassFolders(classes).samples] == [
        path for path, _ in ImageFolder(str(classes)).samples
    ]
