"""Progress on a terminal, for calls that take long."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from rich.console import Console

from virtualpool.observer import Observer, unobserved
from virtualpool.processes import is_main

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def bars(console: Console) -> Iterator[Observer]:
    """An observer that draws a bar a stage, with the time left, for the time of the block."""
    from rich import progress

    columns = (
        progress.TextColumn("{task.description:12}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[message]}"),
    )
    with progress.Progress(*columns, console=console) as shown:
        tasks: dict[str, Any] = {}

        def observe(stage: str, done: int, total: int, message: str, /) -> None:
            if stage not in tasks:
                tasks[stage] = shown.add_task(stage, total=total, message=message)
            shown.update(tasks[stage], completed=done, total=total, message=message)

        yield observe


def shows_progress(function: Callable[P, T]) -> Callable[P, T]:
    """A function that shows its progress where no `observer` is given and someone may look.

    Standard error has to be a terminal for that; of several processes the main one shows it.
    """

    @functools.wraps(function)
    def observed(*args: P.args, **kwargs: P.kwargs) -> T:
        if kwargs.get("observer") is not None:
            return function(*args, **kwargs)
        console = Console(stderr=True, highlight=False, markup=False)
        if not (console.is_terminal and is_main()):
            return function(*args, **kwargs | {"observer": unobserved})  # pyright: ignore
        with bars(console) as observer:
            return function(*args, **kwargs | {"observer": observer})  # pyright: ignore

    return observed
