"""The state of a training in one file, whole or absent."""

import zipfile
from pathlib import Path
from typing import Any

import torch

from virtualpool.errors import VirtualPoolError
from virtualpool.files import replacing, unwritable


class Checkpoint:
    """A file that holds a training's state, and the settings that the state belongs to."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        self._settings = settings

    def save(self, state: dict[str, Any]) -> None:
        """Puts a state in the place of the one before."""
        with replacing(self.path) as beside:
            try:
                torch.save({"settings": self._settings, **state}, beside)
            except RuntimeError as error:  # of a write that failed it does not say why
                raise unwritable(self.path, OSError("the disk may be full")) from error

    def load(self) -> dict[str, Any] | None:
        """The state that was saved last, its tensors on the CPU; `None` where there is none.

        Raises:
            VirtualPoolError: the file is broken, or of a training with other settings.
        """
        if not self.path.exists():
            return None
        try:
            _check_whole(self.path)
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            settings = state.pop("settings")
        except Exception as error:  # unpickling a broken file raises anything
            raise VirtualPoolError(
                f"{self.path}: not a checkpoint, or a broken one ({error}); "
                "remove it to start this round anew."
            ) from error
        if settings != self._settings:
            raise VirtualPoolError(
                f"{self.path}: made with other settings ({self._difference(settings)}); "
                "go on with those, or remove it to start this round anew."
            )
        return state

    def _difference(self, settings: dict[str, Any]) -> str:
        names = [name for name in self._settings if self._settings[name] != settings.get(name)]
        return ", ".join(
            f"{name} was {settings.get(name)}, is {self._settings[name]}" for name in names
        )


def _check_whole(path: Path) -> None:
    """Compares a file's contents with the checksums in it, which `torch.load` passes over."""
    with zipfile.ZipFile(path) as file:
        if any(part.compress_type != zipfile.ZIP_STORED for part in file.infolist()):
            raise ValueError("its parts are compressed, so it can be larger in memory")
        if name := file.testzip():
            raise ValueError(f"{name} has changed since it was saved")
