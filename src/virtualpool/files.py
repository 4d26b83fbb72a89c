"""Files that are whole or absent: written beside their place, then renamed into it."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from virtualpool.errors import VirtualPoolError


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Gives a path beside `path` to write to; what is there at the end takes the place of `path`.

    If the block raises, `path` stays as it was and nothing is left behind.

    Raises:
        VirtualPoolError: nothing can be written there.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "deep" / "note.txt"
    >>> with replacing(target) as beside:
    ...     _ = beside.write_text("whole")
    >>> target.read_text()
    'whole'
    """
    path = Path(path)
    if path.is_dir():
        raise VirtualPoolError(f"{path}: is a folder; give the path of a file to write.")
    made_folder(path.parent)
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise _unwritable(path, error) from error
    os.close(descriptor)
    beside = Path(name)
    try:
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.chmod(0o666 & ~_umask())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def made_folder(path: Path) -> Path:
    """A folder that is there, or is made now; where it cannot be, a `VirtualPoolError` says why."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error
    return path


def _unwritable(path: Path, error: OSError) -> VirtualPoolError:
    return VirtualPoolError(f"{path}: cannot be written ({error.strerror}); choose another place.")


def write_text(path: Path | str, text: str) -> None:
    """Writes a whole text file or nothing."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Writes a whole JSON file or nothing."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path | str) -> Any:
    """Reads a JSON file; a missing or a broken one is a `VirtualPoolError` that names it."""
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise VirtualPoolError(f"{path}: cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise VirtualPoolError(f"{path}: not a JSON file ({error}).") from error


def cache_folder() -> Path:
    """Where files are kept between runs: `$VIRTUALPOOL_CACHE`, or the user's cache folder."""
    if given := os.environ.get("VIRTUALPOOL_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "virtualpool"


def _umask() -> int:
    # mkstemp makes a file that only its owner can read; a result should be as readable as any file.
    mask = os.umask(0)
    os.umask(mask)
    return mask
