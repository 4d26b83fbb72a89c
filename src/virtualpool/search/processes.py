"""Several processes that do one search together, as `accelerate launch` starts them.

Every process goes through the whole search, since fine-tuning and evaluating may need them all; the
main one alone writes files and times models, and decides what the others then do as well.
"""

import os
from typing import Any, TypeVar

from torch import distributed, nn

Value = TypeVar("Value")


def join(model: nn.Module) -> None:
    """Connects this process to the others, if it was started as one of several.

    Args:
        model: what the process works on; where it is decides how the processes talk.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from accelerate import PartialState

        PartialState(cpu=not any(weight.is_cuda for weight in model.parameters()))


def is_main() -> bool:
    """Whether this is the process that writes files."""
    return int(os.environ.get("RANK", "0")) == 0


def agreed(value: Value) -> Value:
    """The main process's value, in every process.

    >>> agreed("the only process decides")
    'the only process decides'
    """
    if not _connected():
        return value
    shared: list[Any] = [value]
    distributed.broadcast_object_list(shared)
    return shared[0]


def wait_for_all() -> None:
    """Lets no process go on before all have come here."""
    if _connected():
        distributed.barrier()


def _connected() -> bool:
    return distributed.is_available() and distributed.is_initialized()
