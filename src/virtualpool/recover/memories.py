"""The memory that a forward takes, written to files while the forward waits."""

import ctypes
import itertools
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from virtualpool.errors import VirtualPoolError
from virtualpool.graph.inputs import tensors
from virtualpool.torch_private import (
    StorageWeakRef,
    TorchDispatchMode,
    changes_its_inputs,
    memory_of,
    storage_at,
)

_SMALLEST = 4096
"""Bytes; smaller tensors are not worth a file."""


class Memories(TorchDispatchMode):
    """Notes the memory of the tensors that operations within make, for as long as it is used.

    The memory of parameters, buffers and images does not count.

    Args:
        files: where the memory can wait.
    """

    def __init__(self, files: "Files | None" = None) -> None:
        super().__init__()
        self._files = files
        self._made: dict[int, StorageWeakRef] = {}

    @property
    def size(self) -> int:
        """Bytes that are in use."""
        return sum(storage.nbytes() for _, storage in self._used())

    def to_files(self) -> None:
        """Frees the memory. Who reads it before `from_files` reads nothing."""
        assert self._files is not None
        for key, storage in self._used():
            self._files.write(key, storage)
        self._files.forget(self._ended())
        _give_back()

    def from_files(self) -> None:
        """Gives the memory its contents again."""
        assert self._files is not None
        for key, storage in self._used():
            self._files.read(key, storage)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = [memory_of(each) for each in tensors([args, kwargs or {}])]
        if self._files is not None:
            # A model may keep a tensor of one forward, and use it in another.
            self._files.read_if_away(given)
        out = func(*args, **(kwargs or {}))
        keys = {each.cdata for each in given}
        if self._files is not None and changes_its_inputs(func):
            self._files.forget(keys)
        for reference in map(memory_of, tensors(out)):
            if reference.cdata not in keys:
                self._made[reference.cdata] = reference
        return out

    def _used(self) -> Iterator[tuple[int, torch.UntypedStorage]]:
        for key, reference in self._made.items():
            if (storage := storage_at(reference)) is not None:
                yield key, storage

    def _ended(self) -> set[int]:
        ended = {key for key, reference in self._made.items() if reference.expired()}
        for key in ended:
            del self._made[key]
        return ended


class Files:
    """Contents of memory in temporary files, by the address of the memory's record."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="virtualpool-")
        self._numbers = itertools.count()
        self._files: dict[int, Path] = {}
        self._away: dict[int, int] = {}

    def write(self, key: int, storage: torch.UntypedStorage) -> None:
        """Frees memory; a file that has its contents already is not written again."""
        if key in self._away or storage.nbytes() < _SMALLEST or not storage.resizable():
            return
        if key not in self._files:
            path = Path(self._folder.name) / str(next(self._numbers))
            try:
                self._save(storage, path)
            except OSError as error:
                raise VirtualPoolError(
                    f"The maps that wait cannot be written to {path.parent} ({error}); raise "
                    "memory_gib, or set TMPDIR to a folder with more room."
                ) from error
            self._files[key] = path
        self._away[key] = storage.nbytes()
        storage.resize_(0)

    @staticmethod
    def _save(storage: torch.UntypedStorage, path: Path) -> None:
        # A copy: memory that NumPy has seen can be freed, but never taken again.
        _bytes_of(storage).to("cpu", copy=True).numpy().tofile(path)

    def read(self, key: int, storage: torch.UntypedStorage) -> None:
        """Gives memory its contents, if it was freed."""
        if (size := self._away.pop(key, None)) is None:
            return
        storage.resize_(size)
        kept = torch.from_file(str(self._files[key]), size=size, dtype=torch.uint8)
        _bytes_of(storage).copy_(kept)

    def read_if_away(self, references: list[StorageWeakRef]) -> None:
        """The same for all of some references that were freed."""
        for reference in references:
            if reference.cdata in self._away and (storage := storage_at(reference)) is not None:
                self.read(reference.cdata, storage)

    def forget(self, keys: set[int]) -> None:
        """Removes the files of memory that has ended, or has other contents now."""
        for key in keys & self._files.keys():
            self._away.pop(key, None)
            self._files.pop(key).unlink()

    def close(self) -> None:
        """Removes all files."""
        self._folder.cleanup()


def _give_back() -> None:
    """Gives freed memory back to the system.

    Each forward waits in a thread of its own. glibc keeps what a thread has freed for this thread
    alone, so that a walk over large maps came to hold several times what it uses.
    """
    if (trim := _trim()) is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    """`malloc_trim`, where the C library is glibc."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library; TypeError on Windows
        return None


def _bytes_of(storage: torch.UntypedStorage) -> Tensor:
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
