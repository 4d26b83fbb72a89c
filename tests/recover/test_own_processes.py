"""Trainings in processes of their own: killed at any moment, or several at once."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from virtualpool.search import read_records

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL and gloo")

FORKING = """
import json, os, sys, traceback
from pathlib import Path

import accelerate
import torch
from safetensors.torch import save_file
from torch import nn

def fork(job):
    pid = os.fork()
    if pid:
        return pid
    try:
        os.environ.update(job["environment"])
        run(Path(job["folder"]), job["moment"], job["kind"])
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)

def main():
    for jobs in json.loads(sys.argv[1]):
        pids = [fork(job) for job in jobs]
        print(*(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids), flush=True)
"""
"""Runs jobs in processes of their own, forked from one that has imported torch, for speed."""

TRAINING = (
    FORKING
    + """
import signal

from torch.utils.data import DataLoader, TensorDataset

from virtualpool.plan import Plan
from virtualpool.search import Round, Score, by_labels

write = torch.save

def run(folder, moment, batches):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    labels = torch.randint(4, (48,))
    images = torch.randn(48, 3, 8, 8) + labels[:, None, None, None]
    convolution = nn.Conv2d(3, 8, 3, padding=1)
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)

    class Noisy(TensorDataset):
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return image + 0.1 * torch.randn_like(image), label

    if batches.startswith("list of "):
        size = int(batches.removeprefix("list of "))
        batches = list(zip(images.split(size), labels.split(size)))
        network = nn.Sequential(convolution, nn.ReLU(), *head)
    else:
        workers = int(batches.removeprefix("workers "))
        batches = DataLoader(Noisy(images, labels), 8, shuffle=True, num_workers=workers)
        network = nn.Sequential(convolution, nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), *head)

    def observe(stage, done, total, message):
        if moment == f"after step {done}" and message.startswith("loss"):
            os.kill(os.getpid(), signal.SIGKILL)

    def save(value, path):
        write(value, path)
        if moment == f"while saving step {value.get('step')}":
            half = path.read_bytes()[: path.stat().st_size // 2]
            path.write_bytes(half)
            os.kill(os.getpid(), signal.SIGKILL)

    torch.save = save
    current = Round(
        1, ("0",), Plan(), folder / "round-01", 0.1, 2, lambda _: Score(0.5), observer=observe
    )
    by_labels(batches, ema=0.9, checkpoint_seconds=0.0, log_steps=1)(network, current)
    network(images).sum().backward()  # as a search goes on: the model is an ordinary one
    rank = os.environ.get("RANK", "0")
    save_file({name: value.contiguous() for name, value in network.state_dict().items()},
              folder / f"end-{rank}.safetensors")

main()
"""
)


Job = dict[str, Any]


def job(folder: Path, kind: str, moment: str = "never", **environment: str) -> Job:
    folder.mkdir(exist_ok=True)
    return {"folder": str(folder), "kind": kind, "moment": moment, "environment": environment}


def two_of(folder: Path, kind: str) -> list[Job]:
    """Two processes, as `accelerate launch` starts them."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    return [job(folder, kind, RANK=str(rank), LOCAL_RANK=str(rank), **shared) for rank in range(2)]


def codes_of(*groups: list[Job], code: str = TRAINING) -> list[list[int]]:
    """How the jobs ended: a group after the other, the jobs of a group at once."""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, json.dumps(groups)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    codes = [[int(each) for each in line.split()] for line in ran.stdout.splitlines()]
    assert ran.returncode == 0, ran.stderr
    assert all(each in (0, -signal.SIGKILL) for group in codes for each in group), ran.stderr
    return codes


def end(folder: Path, rank: int = 0) -> dict[str, torch.Tensor]:
    return load_file(folder / f"end-{rank}.safetensors")


@pytest.mark.parametrize(
    ("batches", "kills"),
    [
        ("workers 0", ["while saving step 4", "after step 4", "while saving step 8"]),
        ("workers 2", ["after step 8"]),
    ],
)
def test_a_killed_training_ends_as_one_that_ran_through(tmp_path, batches, kills):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    killed = [[job(parts, batches, moment)] for moment in kills]
    codes = codes_of([job(whole, batches)], *killed, [job(parts, batches)])
    assert codes == [[0], *[[-signal.SIGKILL]] * len(kills), [0]]
    expected, found = end(whole), end(parts)
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    journals = [read_records(folder / "round-01/training.jsonl") for folder in (whole, parts)]
    assert journals[0] == journals[1]
    assert journals[0][-1]["step"] == 12


def test_two_processes_train_one_model(tmp_path):
    assert codes_of(two_of(tmp_path, "workers 0")) == [[0, 0]]
    mine, its = end(tmp_path, 0), end(tmp_path, 1)
    assert all(torch.equal(its[name], value) for name, value in mine.items())
    records = read_records(tmp_path / "round-01/training.jsonl")
    # Each has three of the six batches of an epoch; one of them logs.
    assert [it["step"] for it in records if "loss" in it] == [1, 2, 3, 4, 5, 6]
    files = [path.name for path in (tmp_path / "round-01").rglob("*") if path.is_file()]
    assert sorted(files) == ["start.pt", "training.jsonl", "training.pt"]


def test_two_processes_take_the_steps_of_one_with_larger_batches(tmp_path):
    jobs = [*two_of(tmp_path / "two", "list of 8"), job(tmp_path / "one", "list of 16")]
    assert codes_of(jobs) == [[0, 0, 0]]
    alone, together = end(tmp_path / "one"), end(tmp_path / "two")
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, msg=name)


RECONSTRUCTION = (
    FORKING
    + """
import virtualpool as vp
from virtualpool.processes import leave

def run(folder, moment, kind):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    noise = torch.randn(28, 3, 4, 4, dtype=torch.float64)
    images = nn.functional.interpolate(noise, (12, 12), mode="bicubic")
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 6, 3, padding=1, groups=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 4),
    ).double().eval()
    pooled = vp.apply(model, images[:1])
    # Seven batches, of which one is held out: neither number can be halved.
    solved = vp.reconstruct(pooled, model, images.split(4), memory_gib=4.0)
    assert not torch.equal(solved.get_parameter("0.weight"), pooled.get_parameter("0.weight"))
    rank = os.environ.get("RANK", "0")
    save_file(solved.state_dict(), folder / f"end-{rank}.safetensors")
    leave()

main()
"""
)


def test_two_processes_reconstruct_what_one_does(tmp_path):
    alone, together = tmp_path / "one", tmp_path / "two"
    jobs = [*two_of(together, "all"), job(alone, "all")]
    assert codes_of(jobs, code=RECONSTRUCTION) == [[0, 0, 0]]
    for name, value in end(alone).items():
        assert torch.equal(end(together, 0)[name], end(together, 1)[name])
        torch.testing.assert_close(end(together)[name], value, rtol=1e-9, atol=1e-9, msg=name)
