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
from virtualpool.documents import write_document
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


def test_a_record_that_cannot_be_appended(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(VirtualPoolError, match="file: cannot be written"):
        append_record(tmp_path / "file" / "training.jsonl", {"step": 1})
