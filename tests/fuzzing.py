"""Files that were changed at random, by a seed: their readers have to refuse, or be right."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

_OTHERS: list[Any] = [
    None, True, 0, -1, 2.5, 1e308, 10**30, 10**400, float("nan"), "", "x", "\0", "../..", [], {},
    [None], [[]], {"a": 1}, {"schema": 1}, {"content": 1}, "deep",
]  # fmt: skip


def garbled(content: bytes, rng: random.Random) -> bytes:
    """A file that was cut off, or in which bytes are others, are gone, or came in."""
    start, end = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    changed = bytearray(content)
    match rng.randrange(4):
        case 0:
            return content[:start]
        case 1:
            return content[:start] + content[min(end, start + 40) :]
        case 2:
            return content[:start] + rng.randbytes(9) + content[start:]
    for _ in range(rng.choice([1, 3, 20])):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def rewritten(value: Any, rng: random.Random) -> str:
    """A JSON text of a value in which some are of other types, huge, nested deeply, or gone."""
    changed = copy.deepcopy(value)
    for _ in range(rng.choice([1, 1, 3])):
        parent, key = rng.choice([*_places(changed)])
        if rng.random() < 0.15:
            del parent[key]
        else:
            parent[key] = copy.deepcopy(rng.choice(_OTHERS))
    return json.dumps(changed).replace('"deep"', "[" * 50_000 + "]" * 50_000)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = value if isinstance(value, dict) else range(len(value) if isinstance(value, list) else 0)
    for key in keys:
        yield value, key
        yield from _places(value[key])
    if value in ([], {}):
        yield [None], 0
