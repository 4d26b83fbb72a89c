"""The command line's output: results on standard output, everything else on standard error."""

import json
import logging
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

from virtualpool.observer import Observer
from virtualpool.processes import command, is_main
from virtualpool.progress import bars
from virtualpool.words import in_words

T = TypeVar("T")
INTERRUPTED = 130
"""The exit code after Ctrl-C, as a shell gives it."""

_QUIET_SECONDS = 15
_NO_TERMINAL_WIDTH = 160


def messages() -> Console:
    """The console for everything that is not a result."""
    return Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


def show_log() -> None:
    """Prints the library's warnings, and the log of a search, as messages."""
    logger = logging.getLogger("virtualpool")
    logger.handlers = [_Messages()]
    logger.setLevel(logging.WARNING)
    logging.getLogger("virtualpool.search").setLevel(logging.INFO)


@contextmanager
def only_main_prints() -> Iterator[None]:
    """Of several processes that run one command together, lets the main one print alone."""
    if is_main():
        yield
        return
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        redirect_stdout(nowhere),
        redirect_stderr(nowhere),
    ):
        yield


@contextmanager
def results(as_json: bool) -> Iterator[Callable[[Any, Callable[[], None]], None]]:
    """Gives a function that prints a result: as JSON, or by a function of its own.

    With `as_json`, whatever else the block prints (a user's model may) goes to standard error, so
    that standard output is JSON and nothing else.
    """
    output = sys.stdout

    def show(value: Any, readable: Callable[[], None]) -> None:
        if as_json:
            print(json.dumps(value, indent=2), file=output)
        else:
            readable()

    with redirect_stdout(sys.stderr if as_json else output):
        yield show


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table; columns whose name begins with ">" are aligned to the right."""
    drawn = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        right = column.startswith(">")
        drawn.add_column(column.lstrip(">"), justify="right" if right else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    # A table in a pipe or a file has all the width that it wants.
    console = Console(highlight=False, markup=False)
    console.width = console.width if console.is_terminal else _NO_TERMINAL_WIDTH
    console.print(drawn)


Columns = Sequence[tuple[str, Callable[[T], str]]]
"""The titles of a table's columns, as for `table`, each with a function for its cells."""


def table_of(columns: Columns[T], things: Iterable[T]) -> None:
    """Prints a table with a row for each thing."""
    rows = [[cell(thing) for _, cell in columns] for thing in things]
    table([title for title, _ in columns], rows)


@contextmanager
def progress() -> Iterator[Observer]:
    """An observer for long computations: bars with the time left, or a plain line now and then."""
    console = messages()
    if not console.is_terminal:
        yield _Lines(console)
        return
    with bars(console) as observe:
        yield observe


@contextmanager
def resumable(kept: str) -> Iterator[None]:
    """After Ctrl-C, prints where the run is and the command that goes on."""
    try:
        yield
    except KeyboardInterrupt:
        messages().print(f"Stopped. {kept} is kept; go on by the same command:\n  {command_line()}")
        raise


def command_line() -> str:
    """The command that was given, as it can be typed again."""
    program, *arguments = command()
    return shlex.join([Path(program).name, *arguments])


class LoadingPyTorch(MetaPathFinder):
    """Says that PyTorch is being loaded, which takes seconds in which nothing else is said."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Finds nothing; it is asked before each module is loaded."""
        if fullname == "torch":
            sys.meta_path.remove(self)
            messages().print("loading PyTorch ...")


def announce_loading() -> None:
    """Has a person at a terminal told when PyTorch is loaded, if it is not there yet."""
    if "torch" not in sys.modules and is_main() and messages().is_terminal:
        sys.meta_path.insert(0, LoadingPyTorch())


class _Messages(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        messages().print(prefix + record.getMessage())


class _Lines:
    """Says how far it is when a stage begins and ends, and every now and then between."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = 0.0
        self._stage = ""
        self._began, self._first = 0.0, 0

    def __call__(self, stage: str, done: int, total: int, message: str, /) -> None:
        now = time.monotonic()
        same = stage == self._stage and done < total
        if same and now - self._last < _QUIET_SECONDS:
            return
        if stage != self._stage:
            self._began, self._first = now, done
        left = ""
        if self._first < done < total:
            seconds = (now - self._began) / (done - self._first) * (total - done)
            left = f"({in_words(seconds)} left)"
        self._stage, self._last = stage, now
        self._console.print(" ".join(filter(None, [f"{stage}: {done}/{total}", left, message])))
