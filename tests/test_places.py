"""Places where nothing can be written: each writer says so in a line that names its file."""

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import virtualpool as vp
from virtualpool import Frontier, VirtualPoolError
from virtualpool.documents import read_document, write_document
from virtualpool.records import append_record, write_records

GOLDEN = Path(__file__).with_name("golden") / "version-2"
IMAGES = torch.rand(1, 3, 8, 8)
NETWORK = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()


def evaluate(model: nn.Module) -> float:
    return float(model(IMAGES).mean())


def save(path: Path) -> None:
    vp.save(vp.apply(NETWORK, IMAGES), path)


def search(path: Path) -> None:
    vp.search(NETWORK, IMAGES, evaluate=evaluate, finetune=None, rounds=1, run_dir=path.parent)


def rank(path: Path) -> None:
    vp.sensitivity(NETWORK, IMAGES, evaluate, path=path)


def frontier() -> Frontier:
    return Frontier.load(next(GOLDEN.rglob("frontier.json")))


WRITERS: dict[str, Callable[[Path], Any]] = {
    "model.safetensors": save,
    "config.json": search,
    "sensitivity.json": rank,
    "frontier.json": lambda path: frontier().save(path),
    "figure.svg": lambda path: frontier().plot(path),
    "figure.png": lambda path: frontier().plot(path),
    "rounds.json": lambda path: write_document(path, [["0"]]),
    "training.jsonl": lambda path: write_records(path, [{"step": 1}]),
}


def failing(number: int) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    ("place", "function", "number"),
    [(os, "fsync", errno.ENOSPC), (tempfile, "mkstemp", errno.EROFS), (Path, "mkdir", errno.EROFS)],
    ids=["full", "read-only", "in a read-only one"],
)
def test_what_cannot_be_written_is_named(tmp_path, monkeypatch, name, place, function, number):
    path = tmp_path / "place" / name
    monkeypatch.setattr(place, function, failing(number))
    with pytest.raises(VirtualPoolError) as raised:
        WRITERS[name](path)
    said = str(raised.value)
    assert said.startswith(str(path.parent))
    assert said.endswith(f"cannot be written ({os.strerror(number)}); choose another place.")
    assert not path.exists()


def test_a_disk_that_gets_full_keeps_the_sites_so_far(tmp_path, monkeypatch):
    path, sync = tmp_path / "sensitivity.json", os.fsync
    network = nn.Sequential(*NETWORK, nn.Conv2d(4, 4, 3), nn.ReLU())
    room = iter([sync, sync])  # for the unmodified network and for one site
    monkeypatch.setattr(os, "fsync", lambda file: next(room, failing(errno.ENOSPC))(file))
    with pytest.raises(VirtualPoolError, match="cannot be written"):
        vp.sensitivity(network, IMAGES, evaluate, path=path)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    monkeypatch.setattr(os, "fsync", sync)
    assert [each["name"] for each in read_document(path)["sites"]] == ["0"]
    seen = []
    found = vp.sensitivity(
        network, IMAGES, evaluate, path=path, observer=lambda *told: seen.append(told)
    )
    assert sorted(found.names) == ["0", "2"]
    assert seen[0][0] == "sensitivity"  # the unmodified network is not evaluated again


def test_a_record_that_cannot_be_appended(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(VirtualPoolError, match="file: cannot be written"):
        append_record(tmp_path / "file" / "training.jsonl", {"step": 1})
