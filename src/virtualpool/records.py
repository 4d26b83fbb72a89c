"""Records: a file with a JSON object a line, such as the journal of a training."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from virtualpool.documents import with_schema, without_schema
from virtualpool.files import made_folder, naming, parse_json, unwritable, write_text


def append_line(path: Path, line: str) -> None:
    """Appends a line to a file, on a line of its own even if a kill has cut the last one short."""
    made_folder(path.parent)
    try:
        with path.open("ab+") as file:
            cut = False
            if file.tell():
                file.seek(-1, os.SEEK_END)
                cut = file.read(1) != b"\n"
            file.write(("\n" if cut else "").encode() + f"{line}\n".encode())
    except OSError as error:
        raise unwritable(path, error) from error


def append_record(
    path: Path, record: dict[str, Any], default: Callable[[Any], Any] | None = None
) -> None:
    """Appends a record, with the version of its schema.

    Args:
        path: the file.
        record: the record.
        default: gives the JSON-able form of a value that has none.
    """
    append_line(path, json.dumps(with_schema(record), default=default))


def read_records(path: Path | str) -> list[dict[str, Any]]:
    """The records of a file with a JSON object a line, such as training.jsonl.

    A line that a kill has cut short is left out; a file that does not exist has no records.

    Raises:
        VirtualPoolError: a record is of a newer virtualpool.
    """
    path = Path(path)
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    with naming(path):
        return [record for record in map(_record, lines) if record is not None]


def write_records(path: Path | str, records: list[dict[str, Any]]) -> None:
    """Writes such a file anew, whole or not at all."""
    write_text(path, "".join(f"{json.dumps(with_schema(record))}\n" for record in records))


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = parse_json(line)
    except ValueError:
        return None
    return without_schema(record) if isinstance(record, dict) else None
