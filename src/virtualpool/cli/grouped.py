"""Commands whose options are values: several commands share them, and functions take them whole."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

KEYWORD = inspect.Parameter.KEYWORD_ONLY


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """The command as Typer needs it: for a parameter that is a dataclass, one for each field.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Size:
    ...     height: int
    ...     width: int = 2
    >>> @grouped
    ... def area(size: Size, factor: int = 1) -> None:
    ...     print(factor * size.height * size.width)
    >>> area(height=3, factor=2)
    12
    """
    asked = inspect.signature(command).parameters.values()
    kinds: dict[str, Any] = {it.name: it.annotation for it in asked if is_dataclass(it.annotation)}
    flat = [each for it in asked for each in _flattened(it)]

    def flattened(**given: Any) -> None:
        values = {
            name: kind(**{it.name: given.pop(it.name) for it in fields(kind) if it.name in given})
            for name, kind in kinds.items()
        }
        command(**given, **values)

    flattened.__name__, flattened.__doc__ = command.__name__, command.__doc__
    flattened.__module__, flattened.__qualname__ = command.__module__, command.__qualname__
    flattened.__signature__ = inspect.Signature(flat)  # pyright: ignore[reportFunctionMemberAccess]
    flattened.__annotations__ = {it.name: it.annotation for it in flat}
    return flattened


def _flattened(parameter: inspect.Parameter) -> Iterator[inspect.Parameter]:
    if is_dataclass(parameter.annotation):
        yield from map(_of_field, fields(parameter.annotation))
    else:
        yield parameter.replace(kind=KEYWORD)


def _of_field(field: Field[Any]) -> inspect.Parameter:
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    return inspect.Parameter(field.name, KEYWORD, default=default, annotation=field.type)
