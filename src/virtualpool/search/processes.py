"""Several processes that do one search together, as `accelerate launch` starts them.

Every process goes through the whole search, since fine-tuning and evaluating may need them all; the
main one alone writes files and times models, and decides what the others then do as well.
"""

import os
from typing import Any, TypeVar

Value = TypeVar("Value")


def is_main() -> bool:
    """Whether this is the process that writes files."""
    return int(os.environ.get("RANK", "0")) == 0


def agreed(value: Value) -> Value:
    """The main process's value, in every process; no process goes on before all have come here.

    >>> agreed("the only process decides")
    'the only process decides'
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return value
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    state = PartialState()
    shared: list[Any] = broadcast_object_list([value])
    state.wait_for_everyone()
    return shared[0]
