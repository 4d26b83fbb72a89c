"""The directory of a run: its settings, its results, and a log; one process at a time."""

import json
import logging
import os
import platform
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from filelock import BaseFileLock, FileLock, Timeout

from virtualpool.documents import read_document, write_document
from virtualpool.errors import VirtualPoolError
from virtualpool.files import made_folder, naming, remove_half_written, unwritable
from virtualpool.measure.setting import device_name
from virtualpool.processes import (
    agreed,
    command,
    gathered,
    is_connected,
    is_main,
    wait_for_all,
)
from virtualpool.records import append_line
from virtualpool.search.frontier import Point
from virtualpool.search.run.contents import parser_of, read
from virtualpool.storage import check_file

_log = logging.getLogger(__name__)
_CONFIG, _ENVIRONMENT = "config.json", "environment.json"
_GOES_ON = "; the same command goes on from here"
_FOLDERS = ("", "round-*/", "smaller-*/", "smaller-*/round-*/", "time-saved/")
_PACKAGES = ("virtualpool", "torch", "torchvision")


class Run:
    """A run directory.

    Whatever a run finds is a file in it, and a file that is there is never made again: that is all
    that it takes to go on after a kill.

    >>> import tempfile
    >>> run = Run(tempfile.mkdtemp())
    >>> with run.started({"seed": 0}):
    ...     run.remember("answer.json", lambda: 42)
    42
    >>> with run.started({"seed": 0}):
    ...     run.remember("answer.json", lambda: 43)
    42
    >>> with run.started({"seed": 1}):
    ...     pass
    Traceback (most recent call last):
    virtualpool.errors.VirtualPoolError: ...: made with seed 0, now 1. Start ...

    Attributes:
        directory: where the run lives.
    """

    def __init__(self, directory: Path | str) -> None:
        # Absolute, so that a caller who changes the working directory stays in the same run.
        self.directory = Path(directory).absolute()

    def folder(self, index: int) -> Path:
        """The folder of a round; the unmodified model has round 0."""
        return self.directory / f"round-{index:02d}"

    @contextmanager
    def started(self, config: dict[str, Any]) -> Iterator[None]:
        """Takes the directory for the time of the block.

        Args:
            config: the run's settings, JSON-able. An earlier start must have had the same.

        Raises:
            VirtualPoolError: another process has the directory, or it was made with another config;
                or processes on several machines do not see the same directory.
        """
        made_folder(self.directory)
        self._check_shared()
        with _locked(self.directory):
            if is_main():
                remove_half_written(self.directory)
                self.check_files()
            self._check(config)
            self._note_environment(config.get("seed"))
            try:
                yield
            except BaseException as error:
                reason = f"{type(error).__name__}: {error}".rstrip(": ")
                refused = isinstance(error, VirtualPoolError)  # and would be again
                # Whoever started it sees the error itself.
                self.log(f"stopped by {reason}{'' if refused else _GOES_ON}", logging.DEBUG)
                raise
            self.log("finished")

    def remember(
        self,
        path: Path | str,
        compute: Callable[[], Any],
        *,
        alone: bool = False,
    ) -> Any:
        """The contents of a file of the run, which is computed and written if it is not there.

        Args:
            path: in the run's directory; its name decides how the value is read (`contents`).
            compute: gives a JSON-able value.
            alone: whether only the main process computes, of several that search together.
        """
        path = self.directory / path
        if not agreed(path.exists()):
            value = compute() if is_main() or not alone else None
            if is_main():
                write_document(path, value)
        value = agreed(read_document(path) if is_main() else None)
        with naming(path):
            return parser_of(self.directory, path)(value)

    def log(self, message: str, level: int = logging.INFO) -> None:
        """Adds a line with the time to log.txt, and tells `logging`."""
        _log.log(level, "%s", message)
        if is_main():
            append_line(
                self.directory / "log.txt", f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {message}"
            )

    def _check_shared(self) -> None:
        """Refuses a directory that processes elsewhere do not share: they would wait in vain."""
        if not is_connected():
            return
        # A name that no process has looked for before: network file systems remember missing ones.
        probe = self.directory / agreed(f".shared.{uuid.uuid4().hex}")
        if is_main():
            probe.touch()
        wait_for_all()
        found = gathered(probe.exists())
        if is_main():
            probe.unlink()
        if not all(found):
            raise VirtualPoolError(
                f"{self.directory}: process {found.index(False)} does not see the main process's "
                "files in it. Choose a directory on a file system that all machines share."
            )

    def _check(self, config: dict[str, Any]) -> None:
        try:
            asked = json.loads(json.dumps(config))
        except (TypeError, ValueError) as error:
            raise VirtualPoolError(
                f"The settings of a run must be numbers, texts, lists and dicts ({error})."
            ) from error
        if is_main() and not self._has_results():
            (self.directory / _CONFIG).unlink(missing_ok=True)
        before, now = _flat(self.remember(_CONFIG, lambda: asked)), _flat(asked)
        changed = [key for key in before | now if before.get(key) != now.get(key)]
        if changed:
            differences = ", ".join(
                f"{key} {_short(before.get(key))}, now {_short(now.get(key))}" for key in changed
            )
            raise VirtualPoolError(
                f"{self.directory}: made with {differences}. Start with the same settings to go "
                "on, or in another directory."
            )

    def check_files(self) -> None:
        """Refuses a run with a broken file, before hours are spent on the rest of it."""
        for folder in _FOLDERS:
            for path in sorted(self.directory.glob(f"{folder}*.json")):
                found = read(self.directory, path)
                if isinstance(found, Point):
                    self._check_weights(path, found)
            for path in sorted(self.directory.glob(f"{folder}*.safetensors")):
                check_file(path)

    def _check_weights(self, path: Path, point: Point) -> None:
        """Refuses a model with a point, the last of its files, and no weights."""
        weights = path.parent / "model.safetensors"
        if path.parent == self.folder(0):
            return
        if point.weights != weights.relative_to(self.directory).as_posix():
            raise VirtualPoolError(
                f"{path}: has its weights in {point.weights!r:.80}, where this run keeps "
                f"{weights.name} beside it. Remove {path.parent} to make its model anew."
            )
        if not weights.exists():
            raise VirtualPoolError(
                f"{weights}: is gone, though its model is finished. Put it back, or remove "
                f"{path.parent} to make that model anew."
            )

    def _has_results(self) -> bool:
        # Until something is found, a wrong setting can still be put right.
        return any(
            path.name not in (_CONFIG, _ENVIRONMENT) for path in self.directory.rglob("*.json*")
        )

    def _note_environment(self, seed: Any) -> None:
        begun = (self.directory / _ENVIRONMENT).exists()
        now = _environment(seed)
        first = self.remember(_ENVIRONMENT, lambda: now)
        same = [key for key in first if key not in ("command", "started")]
        moved = [key for key in same if now.get(key) != first[key]]
        elsewhere = "".join(f"; {key} was {first[key]}, is {now.get(key)}" for key in moved)
        self.log(f"{'going on' if begun else 'started'}: {' '.join(command())}{elsewhere}")


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Holds a lock that the system takes back when the process dies, however it dies."""
    lock = FileLock(directory / "lock", timeout=0)
    if not agreed(not is_main() or _is_acquired(lock)):
        raise VirtualPoolError(
            f"{directory}: another process is running it. Wait for that one, stop it, or "
            "start in another directory."
        )
    try:
        yield
    finally:
        lock.release()


def _is_acquired(lock: BaseFileLock) -> bool:
    try:
        lock.acquire()
    except Timeout:
        return False
    except OSError as error:
        raise unwritable(Path(lock.lock_file), error) from error
    return True


def _environment(seed: Any) -> dict[str, Any]:
    gpu = device_name(torch.device("cuda", 0)) if torch.cuda.is_available() else None
    return {
        "machine": platform.platform(),
        "processor": device_name(torch.device("cpu")),
        "cores": os.cpu_count(),
        "gpu": gpu,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in _PACKAGES},
        "command": command(),
        "directory": str(Path.cwd()),
        "seed": seed,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one, with dotted keys."""
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    return {
        key: item
        for name, nested in value.items()
        for key, item in _flat(nested, f"{prefix}.{name}" if prefix else name).items()
    }


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
