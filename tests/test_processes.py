import contextlib
import json
import re
import sys

import pytest

from tests.forking import FORKING, codes_of, needs_forks, two_of
from virtualpool import processes
from virtualpool.processes import agreed, gathered, is_main
from virtualpool.search import Frontier


def test_a_process_alone_decides():
    assert is_main()
    value = object()
    assert agreed(value) is value
    assert gathered(value) == [value]


COMMANDS = [
    (["/usr/bin/virtualpool", "tune"], "1", ["/usr/bin/virtualpool", "tune"]),
    (["/lib/virtualpool/__main__.py", "tune"], "1", ["python", "-m", "virtualpool", "tune"]),
    (["train.py", "a b"], "2", ["accelerate", "launch", "...", "train.py", "a b"]),
    (
        ["/lib/virtualpool/__main__.py", "tune"], "2",
        ["accelerate", "launch", "...", "-m", "virtualpool", "tune"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("given", "count", "typed"), COMMANDS)
def test_the_command_as_it_can_be_typed_again(monkeypatch, given, count, typed):
    monkeypatch.setattr(sys, "argv", given)
    monkeypatch.setenv("WORLD_SIZE", count)
    assert processes.command() == typed


@pytest.mark.parametrize(("rank", "order"), [("0", ["work", "wait"]), ("1", ["wait", "work"])])
@pytest.mark.parametrize("fails", [False, True])
def test_the_main_process_goes_first(monkeypatch, rank, order, fails):
    done = []
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr(processes, "wait_for_all", lambda: done.append("wait"))
    with contextlib.suppress(ValueError), processes.main_first():
        done.append("work")
        if fails:
            raise ValueError
    assert done == order


# Each process has another half of the images; fine-tuning and evaluating need both.
TOGETHER = (
    FORKING
    + """
from torch import distributed
import virtualpool as vp
from virtualpool.processes import is_connected, leave
from virtualpool.search import by_labels, search

def run(folder, moment, kind):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images, labels = torch.randn(16, 3, 8, 8), torch.randint(4, (16,))
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4),
    )

    def evaluate(model):
        mine = slice(distributed.get_rank(), None, 2)
        right = (model(images[mine]).argmax(1) == labels[mine]).float().sum()
        distributed.all_reduce(right)
        return right.item() / 16

    frontier = search(
        model, images[:1], evaluate=evaluate, rounds=2, run_dir=folder, epochs=2,
        finetune=by_labels([(images[:8], labels[:8]), (images[8:], labels[8:])]),
        learning_rates=0.1, latency={"repeats": 1, "threads": 1},
    )
    target = search(
        model, images[:1], evaluate=evaluate, target=vp.Target(1), run_dir=folder / "target",
        recoverable=[images[:8], images[8:]], image_scales=[], budget=60,
        latency={"repeats": 1, "threads": 1},
    )
    distributed.barrier()
    leave()
    assert not is_connected()
    found = [frontier.points[-1].latency.median_ms]
    found += [(point.accuracy, point.latency.median_ms) for point in target.points]
    accuracies = [point.accuracy for point in frontier.points]
    said = f"{accuracies} {found}"
    (folder / f"said-{os.environ['RANK']}.txt").write_text(said)

main()
"""
)


@needs_forks
def test_two_processes_do_one_search_together(tmp_path):
    assert codes_of(TOGETHER, two_of(tmp_path, "")) == [[0, 0]]
    one, other = ((tmp_path / f"said-{rank}.txt").read_text() for rank in range(2))
    assert one == other
    frontier = Frontier.load(tmp_path / "frontier.json")
    assert one.startswith(str([point.accuracy for point in frontier.points]))
    assert (tmp_path / "target" / "frontier.json").exists()
    log = (tmp_path / "target" / "log.txt").read_text()
    tried = (tmp_path / "target" / "plans.jsonl").read_text().splitlines()
    assert len(re.findall(r"  plan \d+, ", log)) == len(tried) > 1
    log = (tmp_path / "log.txt").read_text()
    assert log.count("round-02: recovery by labels") == 1
    assert "stopped" not in log
    assert json.loads((tmp_path / "rounds.json").read_text()) != []
