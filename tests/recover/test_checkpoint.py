import zipfile

import pytest
import torch

from virtualpool.errors import VirtualPoolError
from virtualpool.recover.checkpoint import Checkpoint


@pytest.fixture
def checkpoint(tmp_path) -> Checkpoint:
    return Checkpoint(tmp_path / "checkpoint" / "training.pt", {"optimizer": "sgd", "steps": 10})


def test_there_and_back(checkpoint):
    assert checkpoint.load() is None
    for step in (1, 2):
        checkpoint.save({"step": step, "weights": torch.full((3,), step)})
    state = checkpoint.load()
    assert state is not None
    assert (state["step"], state["weights"].tolist()) == (2, [2, 2, 2])
    assert [path.name for path in checkpoint.path.parent.iterdir()] == ["training.pt"]


def test_an_interrupted_save_leaves_the_former_one(checkpoint, monkeypatch):
    checkpoint.save({"step": 1})

    def half(value, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("torch.save", half)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save({"step": 2})
    assert checkpoint.load() == {"step": 1}


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", "half", "other"])
def test_a_broken_file_is_named(checkpoint, content):
    checkpoint.save({"step": 1})
    if content == "half":
        content = checkpoint.path.read_bytes()[:-100]
    if content == "other":
        torch.save([1, 2], checkpoint.path)
    else:
        checkpoint.path.write_bytes(content)
    with pytest.raises(VirtualPoolError, match=r"training\.pt: not a checkpoint, or a broken one"):
        checkpoint.load()


def test_other_settings_are_refused(checkpoint):
    checkpoint.save({"step": 1})
    other = Checkpoint(checkpoint.path, {"optimizer": "adamw", "steps": 10})
    with pytest.raises(VirtualPoolError, match=r"other settings \(optimizer was sgd, is adamw\)"):
        other.load()


def test_a_flipped_byte_of_a_checkpoint_is_noticed(tmp_path):
    path = tmp_path / "training.pt"
    checkpoint = Checkpoint(path, {"seed": 0})
    checkpoint.save({"weights": torch.full((64,), 1.5)})
    content = bytearray(path.read_bytes())
    content[content.index(torch.full((64,), 1.5).numpy().tobytes()) + 100] ^= 1
    path.write_bytes(content)
    with pytest.raises(VirtualPoolError, match=f"{path}: not a checkpoint, or a broken one"):
        checkpoint.load()


def test_a_full_disk_is_one_line_with_the_name(checkpoint, monkeypatch):
    checkpoint.save({"step": 1})

    def fail(value, path):
        path.write_bytes(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576")

    monkeypatch.setattr("torch.save", fail)
    with pytest.raises(VirtualPoolError, match=r"training\.pt: cannot be written .*full"):
        checkpoint.save({"step": 2})
    assert checkpoint.load() == {"step": 1}
    assert [path.name for path in checkpoint.path.parent.iterdir()] == ["training.pt"]


def test_what_is_larger_in_memory_than_in_its_file_is_refused(checkpoint):
    checkpoint.save({"step": 1, "weights": torch.zeros(1000)})
    with zipfile.ZipFile(checkpoint.path) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(checkpoint.path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in parts.items():
            file.writestr(name, content)
    with pytest.raises(VirtualPoolError, match=r"training\.pt: .*parts are compressed"):
        checkpoint.load()
