import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from virtualpool.errors import VirtualPoolError
from virtualpool.tasks.preprocessing import Preprocessing
from virtualpool.tasks.unlabelled import load_unlabelled

SMALL = Preprocessing(8)


@pytest.fixture
def folder(tmp_path):
    """Nine images at several depths, one of them broken, and files of other kinds."""
    for place, name in enumerate(["a", "b", "x/c", "x/d", "x/y/e", "x/y/f", "z/g", "z/h"]):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((10, 12, 3), 20 * place, np.uint8)).save(path)
    (tmp_path / "x" / "broken.jpg").write_bytes(b"no image")
    (tmp_path / "labels.csv").write_text("a,b")
    return tmp_path


def test_images_of_all_folders_are_found_and_broken_ones_named(folder):
    found = load_unlabelled(folder, SMALL)
    assert [sum(map(len, part)) for part in (found.batches, found.held_out)] == [7, 1]
    assert [path.rpartition("/")[2] for path in found.skipped] == ["broken.jpg"]
    every = torch.cat([*found.batches, *found.held_out])
    assert every.shape == (8, 3, 8, 8)
    assert len(every[:, 0, 0, 0].unique()) == 8


def test_a_count_limits_the_images_and_holds_a_quarter_more_out(folder):
    (folder / "x" / "broken.jpg").unlink()
    found = load_unlabelled(folder, SMALL, 4)
    assert [sum(map(len, part)) for part in (found.batches, found.held_out)] == [4, 1]
    again, other = (load_unlabelled(folder, SMALL, 4, seed=seed) for seed in (0, 1))
    assert torch.equal(again.batches[0], found.batches[0])
    assert not torch.equal(other.batches[0], found.batches[0])


def test_progress_is_told(folder):
    told = []
    load_unlabelled(folder, SMALL, observer=lambda *each: told.append(each))
    assert [each[:3] for each in told] == [("images", 0, 9), ("images", 9, 9)]


@pytest.mark.parametrize(
    ("left", "said"),
    [
        ([], "no image in it"),
        (["a.png", "b.png", "x/broken.jpg"], "2 of 3 images"),
        (None, "no such"),
    ],
)
def test_a_folder_with_too_few_images_is_refused(folder, tmp_path_factory, left, said):
    other = tmp_path_factory.mktemp("few")
    for name in left or ():
        shutil.copy(folder / name, other)
    with pytest.raises(VirtualPoolError, match=said):
        load_unlabelled(other if left is not None else other / "none", SMALL)
