"""How a command ends in one process of several, given the others' ends on their board."""

import json
import sys

import pytest
from torch import distributed
from torch.distributed import distributed_c10d

from virtualpool import processes
from virtualpool.cli import ending

LOST = [1, "error: unexpected: RuntimeError: Connection closed by peer"]
OTHER = [1, "error: its labels are wrong"]


class Gone:
    """A board that was in a process which is there no more."""

    def check(self, *_):
        raise RuntimeError("Broken pipe")

    set = check


@pytest.fixture
def board(monkeypatch):
    """Where processes leave how they have ended, as if this were one of three."""
    store = distributed.HashStore()  # pyright: ignore[reportPrivateImportUsage]
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setattr(processes, "is_connected", lambda: True)
    monkeypatch.setattr(distributed_c10d, "_get_default_store", lambda: store)
    monkeypatch.setattr(ending, "_PATIENCE", 0.1)
    return store


def leave(board, ends):
    for rank, end in ends.items():
        board.set(f"virtualpool/end/{rank}", json.dumps(end))


MINE = "error: no such data"
CASES = {
    # rank, how others have ended before, this one's end, the exit code, the output
    "all is well": (0, {1: [0, ""], 2: [0, ""]}, (0, ""), 0, ""),
    "all is well in another": (2, {0: [0, ""], 1: [0, ""]}, (0, ""), 0, ""),
    "the main one is the first": (0, {}, (1, MINE), 1, MINE),
    "the main one prints for all": (0, {1: [1, MINE], 2: [1, MINE]}, (1, MINE), 1, MINE),
    "another is silent about it": (1, {0: [1, MINE]}, (1, MINE), 1, ""),
    "usage is said already": (0, {1: [2, ""]}, (2, ""), 2, ""),
    "the first problem": (0, {2: OTHER}, tuple(LOST), 1, f"process 2: {OTHER[1]}"),
    "the first problem, printed already": (0, {2: [1, ""]}, tuple(LOST), 1, ""),
    "a loss elsewhere": (1, {0: [1, MINE]}, tuple(LOST), 1, ""),
    "the main one hangs": (1, {}, (1, MINE), 1, f"process 1: {MINE}"),
    "only another fails": (0, {1: OTHER, 2: [0, ""]}, (0, ""), 1, f"process 1: {OTHER[1]}"),
    "only the main one fails": (1, {0: OTHER, 2: [0, ""]}, (0, ""), 1, ""),
    "interrupted": (0, {1: [130, "interrupted"]}, (130, "interrupted"), 130, "interrupted"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_message_and_one_exit_code(board, monkeypatch, capsys, case):
    rank, others, (code, problem), expected, said = CASES[case]
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setattr(sys, "__stderr__", sys.stderr)
    leave(board, others)
    assert ending.end(code, problem) == expected
    output = capsys.readouterr()
    assert output.err.strip() == said
    assert output.out == ""
    left = json.loads(board.get(f"virtualpool/end/{rank}"))
    assert left == [code, "" if said.startswith(f"process {rank}:") else problem]


def test_another_is_silent_where_the_main_one_is_gone(board, monkeypatch, capsys):
    monkeypatch.setattr(distributed_c10d, "_get_default_store", Gone)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(sys, "__stderr__", sys.stderr)
    assert ending.end(*LOST) == 1
    assert capsys.readouterr().err == ""


def test_a_process_alone_says_what_it_has(capsys):
    assert ending.end(0) == 0
    assert ending.end(1, "error: [bold]as it is[/bold]") == 1
    assert capsys.readouterr().err == "error: [bold]as it is[/bold]\n"
