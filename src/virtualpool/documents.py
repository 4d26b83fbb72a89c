"""The JSON files of a run: each says the version of its schema, and names itself in its errors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from virtualpool.errors import VirtualPoolError
from virtualpool.files import naming, read_json, write_json

SCHEMA = 2
"""Of the files that are written; files of version 1 do not name theirs."""

T = TypeVar("T")


def write_document(path: Path | str, value: Any) -> None:
    """Writes a JSON-able value with the version of its schema, whole or not at all."""
    write_json(path, with_schema(value))


def read_document(path: Path | str, parse: Callable[[Any], T] = lambda value: value) -> T:
    """The document that `write_document` or virtualpool 0.1 wrote.

    Args:
        path: the file.
        parse: turns the JSON value into the wanted one; its errors will name the file.

    Raises:
        VirtualPoolError: the file is missing, no JSON, of a newer version, or refused by `parse`.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "names.json"
    >>> write_document(path, ["a"])
    >>> read_document(path)
    ['a']
    """
    document = read_json(path, finite=True)
    with naming(path):
        return parse(without_schema(document))


def with_schema(value: Any) -> dict[str, Any]:
    """A JSON-able value that says the version of its schema.

    >>> with_schema({"seed": 0}), with_schema([1])
    ({'schema': 2, 'seed': 0}, {'schema': 2, 'content': [1]})
    """
    has_names = isinstance(value, dict) and not value.keys() & {_SCHEMA, _CONTENT}
    return {_SCHEMA: SCHEMA} | (value if has_names else {_CONTENT: value})


def without_schema(document: Any) -> Any:
    """The value of a document of `with_schema`, or of version 1, which names no schema."""
    if not isinstance(document, dict) or _SCHEMA not in document:
        return document
    schema = document[_SCHEMA]
    if type(schema) is not int or not 1 <= schema <= SCHEMA:
        raise VirtualPoolError(
            f"has schema {schema!r:.20}; this virtualpool knows {SCHEMA} and older. Install a "
            "newer virtualpool."
        )
    if _CONTENT in document:
        return document[_CONTENT]
    return {name: value for name, value in document.items() if name != _SCHEMA}


# A value without names of its own, or with one of these two, is written under the second.
_SCHEMA, _CONTENT = "schema", "content"
