"""The JSON files of a run: each says the version of its schema, and names itself in its errors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from virtualpool.errors import VirtualPoolError
from virtualpool.files import naming, read_json, write_json

SCHEMA = 2
"""Of the files that are written; those of version 1 do not say one."""

T = TypeVar("T")


def write_document(path: Path | str, value: Any) -> None:
    """Writes a JSON-able value with the version of its schema, whole or not at all."""
    write_json(path, {"schema": SCHEMA} | (value if isinstance(value, dict) else {_CONTENT: value}))


def read_document(path: Path | str, parse: Callable[[Any], T] = lambda value: value) -> T:
    """What `write_document` wrote, or virtualpool 0.1.

    Args:
        path: the file.
        parse: makes of the JSON value what is wanted; its errors will name the file.

    Raises:
        VirtualPoolError: the file is missing, no JSON, of a newer version, or refused by `parse`.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "names.json"
    >>> write_document(path, ["a"])
    >>> read_document(path)
    ['a']
    """
    document = read_json(path)
    with naming(path):
        return parse(_content(document))


def _content(document: Any) -> Any:
    if not isinstance(document, dict) or "schema" not in document:
        return document
    schema = document["schema"]
    if not isinstance(schema, int) or schema > SCHEMA:
        raise VirtualPoolError(
            f"has schema {schema!r:.20}; this virtualpool knows {SCHEMA} and older. Install a "
            "newer virtualpool."
        )
    if _CONTENT in document:
        return document[_CONTENT]
    return {name: value for name, value in document.items() if name != "schema"}


# What is no dict cannot say its schema beside its own names.
_CONTENT = "content"
