"""Several processes that do one thing together, as `accelerate launch` starts them.

Every process goes through the whole search, since fine-tuning and evaluating may need them all; the
main one alone prints, writes files and times models; its decisions hold for the others too.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

Value = TypeVar("Value")

_PATIENCE = timedelta(hours=2)
"""How long a process waits for another: the main one unpacks data and times models by itself."""


def count() -> int:
    """How many processes were started together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """The number of this process among them; the main one has 0."""
    return int(os.environ.get("RANK", "0"))


def is_main() -> bool:
    """Whether this is the process that prints and writes files."""
    return rank() == 0


def command() -> list[str]:
    """The command that was given, but for the launcher's own options."""
    program = Path(sys.argv[0])
    is_module = program.name == "__main__.py"
    named = ["-m", program.parent.name] if is_module else [sys.argv[0]]
    launcher = ["accelerate", "launch", "..."] if count() > 1 else ["python"] * is_module
    return [*launcher, *named, *sys.argv[1:]]


def join(*, on_cpu: bool) -> None:
    """Connects this process to the others, if it was started as one of several.

    Args:
        on_cpu: where the processes work, which decides how they talk.
    """
    if count() > 1:
        from accelerate import PartialState

        PartialState(cpu=on_cpu, timeout=_PATIENCE)


def leave() -> None:
    """Disconnects this process, at its end.

    Gloo's threads must be gone by then: Python stops the ones that still want it, and C++ takes
    this for a crash. NCCL has none of these, and would wait here for processes that have failed.
    """
    if count() == 1 or not is_connected():
        return
    from torch import distributed

    if distributed.get_backend() == "gloo":
        distributed.destroy_process_group()


def is_connected() -> bool:
    """Whether this process talks to others."""
    from torch import distributed

    return distributed.is_available() and distributed.is_initialized()


def agreed(value: Value) -> Value:
    """The main process's value, in every process.

    >>> agreed("the only process decides")
    'the only process decides'
    """
    if not is_connected():
        return value
    from torch import distributed

    shared: list[Any] = [value]
    distributed.broadcast_object_list(shared)
    return shared[0]


def gathered(value: Value) -> list[Value]:
    """Every process's value, in the order of their ranks, in every process.

    >>> gathered("alone")
    ['alone']
    """
    if not is_connected():
        return [value]
    from torch import distributed

    values: list[Any] = [None] * count()
    distributed.all_gather_object(values, value)
    return values


def add_up(tensors: "list[Tensor]") -> None:
    """Makes each tensor, in place, the sum of every process's."""
    if is_connected():
        from torch import distributed

        for tensor in tensors:
            distributed.all_reduce(tensor)


def wait_for_all() -> None:
    """Lets no process go on before all have come here."""
    if is_connected():
        from torch import distributed

        distributed.barrier()


@contextmanager
def main_first() -> Iterator[None]:
    """Lets the main process go through the block first, so that its downloads are there."""
    if not is_main():
        wait_for_all()
    try:
        yield
    finally:
        if is_main():
            wait_for_all()
