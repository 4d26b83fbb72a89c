"""Recoveries in processes of their own: killed at any moment, or several at once."""

import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.forking import FORKING, codes_of, job, needs_forks, two_of

from virtualpool.search import read_records

pytestmark = needs_forks

CODE = (
    FORKING
    + """
import signal

from torch.utils.data import DataLoader, TensorDataset

import virtualpool as vp
from virtualpool.plan import Plan
from virtualpool.processes import leave
from virtualpool.search import Round, Score, by_labels

write = torch.save

def train(folder, moment, batches):
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
    return network

def reconstruct():
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
    return solved

def run(folder, moment, kind):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = reconstruct() if kind == "reconstruction" else train(folder, moment, kind)
    rank = os.environ.get("RANK", "0")
    save_file({name: value.contiguous() for name, value in network.state_dict().items()},
              folder / f"end-{rank}.safetensors")
    leave()

main()
"""
)

KILLS = {
    "workers 0": ["while saving step 4", "after step 4", "while saving step 8"],
    "workers 2": ["after step 8"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all of them leave, each in a folder of its own: one process starts them, for speed."""
    folder = tmp_path_factory.mktemp("recoveries")
    groups, expected = [], []
    for batches, kills in KILLS.items():
        whole, parts = folder / f"{batches}, whole", folder / f"{batches}, killed"
        killed = [[job(parts, batches, moment)] for moment in kills]
        groups += [[job(whole, batches)], *killed, [job(parts, batches)]]
        expected += [[0], *[[-signal.SIGKILL]] * len(kills), [0]]
    groups += [
        two_of(folder / "together", "workers 0"),
        [*two_of(folder / "two", "list of 8"), job(folder / "one", "list of 16")],
        [*two_of(folder / "both", "reconstruction"), job(folder / "alone", "reconstruction")],
    ]
    expected += [[0, 0], [0, 0, 0], [0, 0, 0]]
    assert codes_of(CODE, *groups) == expected
    return folder


def end(folder: Path, rank: int = 0) -> dict[str, torch.Tensor]:
    return load_file(folder / f"end-{rank}.safetensors")


@pytest.mark.parametrize("batches", KILLS)
def test_a_killed_training_ends_as_one_that_ran_through(folder, batches):
    whole, parts = folder / f"{batches}, whole", folder / f"{batches}, killed"
    expected, found = end(whole), end(parts)
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    journals = [read_records(each / "round-01/training.jsonl") for each in (whole, parts)]
    assert journals[0] == journals[1]
    assert journals[0][-1]["step"] == 12


def test_two_processes_train_one_model(folder):
    mine, its = end(folder / "together", 0), end(folder / "together", 1)
    assert all(torch.equal(its[name], value) for name, value in mine.items())
    round = folder / "together" / "round-01"
    records = read_records(round / "training.jsonl")
    # Each has three of the six batches of an epoch; one of them logs.
    assert [it["step"] for it in records if "loss" in it] == [1, 2, 3, 4, 5, 6]
    files = [path.name for path in round.rglob("*") if path.is_file()]
    assert sorted(files) == ["start.pt", "training.jsonl", "training.pt"]


def test_two_processes_take_the_steps_of_one_with_larger_batches(folder):
    alone, together = end(folder / "one"), end(folder / "two")
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, msg=name)


def test_two_processes_reconstruct_what_one_does(folder):
    alone, together = folder / "alone", folder / "both"
    for name, value in end(alone).items():
        assert torch.equal(end(together, 0)[name], end(together, 1)[name])
        torch.testing.assert_close(end(together)[name], value, rtol=1e-9, atol=1e-9, msg=name)
