"""Values from a file: of the types that a dataclass names, or refused."""

import reprlib
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec

from virtualpool.errors import VirtualPoolError

T = TypeVar("T")

# No measured number is larger, and computing with it stays finite.
_MOST = 1e30
Finite = Annotated[float, msgspec.Meta(ge=-_MOST, le=_MOST)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=_MOST)]
NotNegative = Annotated[float, msgspec.Meta(ge=0, le=_MOST)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]
Whole = Annotated[int, msgspec.Meta(ge=1, le=1 << 62)]
"""Numbers of a file, in the range of their kind."""
Some = msgspec.Meta(min_length=1)
"""Annotates a value that is never empty."""


def converted(value: Any, kind: type[T], what: str | None = None) -> T:
    """A JSON value as a dataclass, a list or a dict of others, with every type checked.

    Fields that the dataclass does not have are left out: a newer version may have added them.

    Args:
        value: numbers, texts, lists and dicts, or a value of the wanted type.
        kind: the type, such as a dataclass or `list[str]`.
        what: its name in the error; the name of the type if not given.

    Raises:
        VirtualPoolError: the value is something else.

    >>> converted([["a"], ["b"]], list[list[str]])
    [['a'], ['b']]
    >>> converted([1], list[str], "a list of names")
    Traceback (most recent call last):
    virtualpool.errors.VirtualPoolError: Not a list of names: [1] (Expected `str`, got `int` ...
    """
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        what = what or _named(kind)
        raise VirtualPoolError(f"Not {what}: {reprlib.repr(value)} ({error}).") from error


def is_a(value: Any, kind: type) -> bool:
    """Whether `converted` takes a value.

    >>> is_a(1, int), is_a("1", int)
    (True, False)
    """
    try:
        converted(value, kind)
    except VirtualPoolError:
        return False
    return True


def parsed(value: Any, **parts: Callable[[Any], Any]) -> Any:
    """A JSON value with some of its fields parsed, where it has them.

    >>> parsed({"plan": "5", "name": "a"}, plan=int, unit=str)
    {'plan': 5, 'name': 'a'}
    """
    if not isinstance(value, dict):
        return value
    known = {name: parse for name, parse in parts.items() if value.get(name) is not None}
    return value | {name: parse(value[name]) for name, parse in known.items()}


def renamed(value: Any, **names: str) -> Any:
    """A JSON value of an older version with the names that its fields have now.

    >>> renamed({"as_written": 1, "fused": 2}, as_written="unfused")
    {'unfused': 1, 'fused': 2}
    """
    if not isinstance(value, dict):
        return value
    return {names.get(name, name): item for name, item in value.items()}


def _named(kind: type) -> str:
    name = kind.__name__.lower()
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
