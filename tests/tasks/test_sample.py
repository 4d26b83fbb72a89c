import os
import subprocess
import sys
from collections import Counter

import pytest
from PIL import Image

from virtualpool.errors import VirtualPoolError
from virtualpool.files import cache_folder
from virtualpool.tasks import sample
from virtualpool.tasks.sample import cifar10_sample


def test_the_sample_is_balanced(cache):
    folder = cifar10_sample()
    assert folder.parent == cache
    images = sorted(folder.glob("*/*/*.jpg"))
    counts = Counter((path.parent.parent.name, path.parent.name) for path in images)
    assert len(counts) == 20
    assert {count for (split, _), count in counts.items() if split == "train"} == {200}
    assert {count for (split, _), count in counts.items() if split == "test"} == {100}
    with Image.open(images[0]) as image:
        assert (image.size, image.mode) == ((32, 32), "RGB")


def test_it_is_unpacked_once(monkeypatch):
    first = cifar10_sample()

    def refuse(*_):
        raise AssertionError("unpacked again")

    monkeypatch.setattr(sample, "_unpack", refuse)
    assert cifar10_sample() == first


def test_processes_that_ask_at_once_find_it_whole(cache):
    code = (
        "from virtualpool.tasks.sample import cifar10_sample as find\n"
        "print(len(list(find().glob('*/*/*.jpg'))))"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [process.communicate(timeout=600)[0].strip() for process in processes] == ["3000"] * 3
    assert [path.name.startswith("cifar10-sample-") for path in cache.iterdir()] == [True]


def test_what_another_process_unpacked_in_the_meantime_is_taken(cache, monkeypatch):
    unpack = sample._unpack

    def as_the_second(archive, folder):
        unpack(archive, folder)
        unpack(archive, folder)

    monkeypatch.setattr(sample, "_unpack", as_the_second)
    assert len(list(cifar10_sample().glob("*/*/*.jpg"))) == 3000
    assert len(list(cache.iterdir())) == 1


def test_a_failure_leaves_nothing(cache, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tarfile.TarFile.extractall", full)
    with pytest.raises(VirtualPoolError, match=r"No space left .*set VIRTUALPOOL_CACHE"):
        cifar10_sample()
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_a_folder_is_refused(cache):
    cache.touch()
    with pytest.raises(VirtualPoolError, match="the sample cannot be unpacked"):
        cifar10_sample()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"VIRTUALPOOL_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/virtualpool"),
        ({"XDG_CACHE_HOME": "", "HOME": "/c"}, "/c/.cache/virtualpool"),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="HOME is not read there")
def test_where_the_cache_is(monkeypatch, environment, expected):
    for name in ("VIRTUALPOOL_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert str(cache_folder()) == expected
