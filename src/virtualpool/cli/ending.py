"""How a command ends that several processes run together: with one message and one exit code."""

import json
import math
import sys
import time
from contextlib import redirect_stderr, suppress

from virtualpool import processes
from virtualpool.cli.terminal import messages

_PATIENCE = 5.0
"""Seconds in which a process that fails awaits the others, which may fail in the same way."""

Ends = dict[int, tuple[int, str]]
"""Of each process that has ended, by its rank: its exit code, and why it is not 0."""


def end(code: int, problem: str = "") -> int:
    """Prints the first problem, once, and returns the exit code that all processes end with.

    The main process prints for all: the first problem, here or elsewhere. Another one
    speaks only where the main one cannot, because that waits for it in vain.

    Args:
        code: the exit code of this process by itself.
        problem: why it is not 0, where that has not been said yet.
    """
    if processes.count() == 1 or not processes.is_connected():
        _say(problem)
        return code
    board = _Board()
    earlier = board.read(patience=0)
    board.write(code, problem)
    if code and processes.is_main():
        _say(_first(earlier, problem))
    ends = board.read(_PATIENCE if code else math.inf)
    if not code and processes.is_main():
        _say(_first(ends, ""))
    if code and not processes.is_main() and 0 not in ends:
        with redirect_stderr(sys.__stderr__):
            _say(f"process {processes.rank()}: {problem}")
        board.write(code, "")
    return max([code, *(its_code for its_code, _ in ends.values())])


class _Board:
    """Where each process leaves how it has ended, whether or not others come to read it."""

    def __init__(self) -> None:
        # At the top it would bring PyTorch, which a command may end without.
        from virtualpool.torch_private import store_of_processes

        self._store = store_of_processes()
        self._others = [rank for rank in range(processes.count()) if rank != processes.rank()]

    def write(self, code: int, problem: str) -> None:
        with suppress(RuntimeError):  # the process that keeps the board may be gone
            self._store.set(_key(processes.rank()), json.dumps([code, problem]))

    def read(self, patience: float) -> Ends:
        """How other processes have ended, if they do so within so many seconds."""
        deadline = time.monotonic() + patience
        ends: Ends = {}
        try:
            while True:
                for rank in self._others:
                    if rank not in ends and self._store.check([_key(rank)]):
                        ends[rank] = tuple(json.loads(self._store.get(_key(rank))))
                if len(ends) == len(self._others) or time.monotonic() >= deadline:
                    return ends
                time.sleep(0.05)
        except RuntimeError:  # The board was in the main process, which has spoken and is gone.
            return ends | {0: (0, "")}


def _key(rank: int) -> str:
    return f"virtualpool/end/{rank}"


def _first(others: Ends, problem: str) -> str:
    """The problem to print: another process's first one, unless it is the same.

    The errors here that follow a failure elsewhere, such as a lost connection, are of no interest.
    """
    for rank, (code, its_problem) in others.items():
        if code and its_problem != problem:
            return its_problem and f"process {rank}: {its_problem}"
    return problem


def _say(problem: str) -> None:
    if problem:
        messages().print(problem)
