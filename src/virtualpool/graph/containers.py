"""The contents of lists, dicts, sets and tuples."""

from collections import deque
from collections.abc import Iterator
from typing import Any

FILLED = (dict, list, set, deque)
"""The containers whose contents can change."""
_CONTAINERS = (tuple, *FILLED)


def held_in(value: Any) -> Iterator[Any]:
    """A value, and all that is inside it where it is a container.

    >>> list(held_in([1, {"two": (2, 3)}]))
    [[1, {'two': (2, 3)}], {'two': (2, 3)}, (2, 3), 3, 2, 1]
    """
    seen: set[int] = set()
    pending = [value]
    while pending:
        value = pending.pop()
        is_container = issubclass(type(value), _CONTAINERS)
        if is_container and id(value) in seen:
            continue
        yield value
        if is_container:
            seen.add(id(value))
            pending += value.values() if isinstance(value, dict) else value
