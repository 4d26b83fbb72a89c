"""Files that are whole or absent: written beside their place, then renamed into it."""

import errno
import json
import math
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from virtualpool.errors import VirtualPoolError

# `replacing` writes to this before it renames: its own prefix, and the eight letters of mkstemp.
_HALF_WRITTEN = re.compile(r"\.virtualpool-.+\.\w{8}")
_DEEPEST = 100


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Gives a path beside `path` to write to; the file there replaces `path` at the end.

    If the block raises, `path` stays as it was and nothing is left behind. Of a symbolic link the
    target is written, and the link stays.

    Raises:
        VirtualPoolError: nothing can be written there, the disk is full, or `path` is a folder, a
            device or a pipe.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "deep" / "note.txt"
    >>> with replacing(target) as beside:
    ...     _ = beside.write_text("whole")
    >>> target.read_text()
    'whole'
    """
    path = Path(path)
    target = _target(path)
    made_folder(target.parent)
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".virtualpool-{path.name}.")
    except OSError as error:
        raise unwritable(path, error) from error
    os.close(descriptor)
    beside = Path(name)
    try:
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.chmod(0o666 & ~_umask())
        beside.replace(target)
    except OSError as error:
        if not _is_about(error, beside, target):
            raise
        raise unwritable(path, error) from error
    finally:
        beside.unlink(missing_ok=True)


def _target(path: Path) -> Path:
    """The file to replace, there or not, at the end of all links."""
    target = path
    try:
        target = path.resolve()  # of a link to nothing yet, that place
        mode = target.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return target
    except (
        OSError,
        RuntimeError,
        ValueError,
    ) as error:  # older Pythons tell of loops by the second
        raise unwritable(path, error) from error
    if stat.S_ISDIR(mode):
        raise VirtualPoolError(f"{path}: is a folder; give the path of a file to write.")
    if not stat.S_ISREG(mode):
        raise VirtualPoolError(
            f"{path}: is a device or a pipe, which cannot hold a whole file; give another path."
        )
    return target


def _is_about(error: OSError, *paths: Path) -> bool:
    """Whether an error of a block came from writing, not from the block's own reading."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return True
    return error.filename is not None and Path(os.fsdecode(error.filename)) in paths


def check_writable(path: Path | str) -> None:
    """Refuses a place where nothing can be written, before the work whose result goes there.

    Makes nothing: folders that are missing are made when the file is.

    Raises:
        VirtualPoolError: the nearest folder that is there takes no files, or is a file.
    """
    path = Path(path)
    folder = path.resolve().parent
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise unwritable(path, error) from error


def put_in_place(made: Path, path: Path | str) -> None:
    """Copies a finished file or folder to its place, which it takes when it is there as a whole.

    Args:
        made: the file or folder, which stays.
        path: its place; a file that is there is replaced.

    Raises:
        VirtualPoolError: nothing can be written there.
    """
    path = Path(path)
    if made.is_file():
        with replacing(path) as beside:
            shutil.copyfile(made, beside)
        return
    made_folder(path.parent)
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".virtualpool-") as folder:
            whole, former = shutil.copytree(made, Path(folder, "new")), Path(folder, "former")
            if path.exists():
                path.rename(former)
            try:
                whole.rename(path)
            except BaseException:
                if former.exists():
                    former.rename(path)
                raise
    except OSError as error:
        raise unwritable(path, error) from error


def remove_half_written(folder: Path) -> None:
    """Removes the files that a killed `replacing` has left in a folder and all below it."""
    for path in list(folder.rglob(".virtualpool-*")):
        if _HALF_WRITTEN.fullmatch(path.name):
            path.unlink(missing_ok=True)


def made_folder(path: Path) -> Path:
    """A folder that is there, or is made now; where it cannot be, a `VirtualPoolError` says why."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error
    return path


def unwritable(path: Path, error: Exception) -> VirtualPoolError:
    """The error of a file that cannot be written, in a line that names it."""
    why = getattr(error, "strerror", None) or str(error).partition("\n")[0]
    return VirtualPoolError(f"{path}: cannot be written ({why}); choose another place.")


def check_suffix(path: Path | str, suffix: str) -> None:
    """Refuses a name that promises another format than is written.

    >>> check_suffix("fast.safetensors", ".safetensors")
    >>> check_suffix("fast.pt", ".safetensors")
    Traceback (most recent call last):
    virtualpool.errors.VirtualPoolError: fast.pt: the format is safetensors; give it a name ...
    """
    if Path(path).suffix != suffix:
        raise VirtualPoolError(
            f"{path}: the format is {suffix[1:]}; give it a name that ends in {suffix}."
        )


def write_text(path: Path | str, text: str) -> None:
    """Writes a whole text file or nothing."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Writes a whole JSON file or nothing."""
    write_text(path, json.dumps(value, indent=2) + "\n")


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Makes the errors of a block name the file that it is about.

    >>> with naming("plan.json"):
    ...     raise VirtualPoolError("Not a plan.")
    Traceback (most recent call last):
    virtualpool.errors.VirtualPoolError: plan.json: Not a plan.
    """
    try:
        yield
    except VirtualPoolError as error:
        if str(error).startswith(f"{path}: "):
            raise
        raise VirtualPoolError(f"{path}: {error}") from error


def parse_json(text: str, *, finite: bool = False) -> Any:
    """The value of a JSON text; other text, or over 100 levels of nesting, is a `ValueError`.

    Args:
        text: of a file, say.
        finite: whether numbers that no float holds are refused, too: nan, infinity and larger ones.

    >>> parse_json("[1, 2]")
    [1, 2]
    >>> parse_json("[1, 2e999]", finite=True)
    Traceback (most recent call last):
    ValueError: the number 2e999 is out of range
    """
    checked = {"parse_float": _finite, "parse_int": _finite_int, "parse_constant": _finite}
    try:
        value = json.loads(text, **checked if finite else {})
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    level = [value]
    for _ in range(_DEEPEST):  # so that a function that goes through the value may call itself
        level = [below for each in level for below in _below(each)]
        if not level:
            return value
    raise ValueError("nested too deeply")


def read_json(path: Path | str, *, finite: bool = False) -> Any:
    """Reads a JSON file; a missing or a broken one is a `VirtualPoolError` that names it."""
    path = Path(path)
    try:
        return parse_json(path.read_text(encoding="utf-8"), finite=finite)
    except OSError as error:
        raise VirtualPoolError(f"{path}: cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise VirtualPoolError(f"{path}: not a JSON file ({error}).") from error


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text:.20} is out of range")
    return value


def _finite_int(text: str) -> int:
    _finite(text)
    return int(text)


def _below(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


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
