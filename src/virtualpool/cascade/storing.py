"""A cascade in one folder: two models' files, and the rule beside them."""

import hashlib
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from virtualpool import storage
from virtualpool.cascade.calibrating import Calibration
from virtualpool.cascade.times import Times
from virtualpool.documents import read_document, write_document
from virtualpool.errors import VirtualPoolError
from virtualpool.files import made_folder, put_in_place
from virtualpool.schema import converted

if TYPE_CHECKING:
    from virtualpool.export import ExportReport

_RULE = "cascade.json"


@dataclass(frozen=True)
class _Written:
    """The JSON file of a cascade; `files` has the SHA-256 of each model's file by its name."""

    calibration: Calibration
    times: tuple[Times, ...]
    files: dict[str, str]


def save(
    fast: nn.Module,
    slow: nn.Module,
    calibration: Calibration,
    times: Iterable[Times],
    folder: Path,
) -> None:
    """Writes both models and the rule to a folder, whole or not at all."""
    with tempfile.TemporaryDirectory() as made:
        files = {f"{name}.safetensors": model for name, model in (("fast", fast), ("slow", slow))}
        for name, model in files.items():
            storage.save(model, Path(made, name))
        _write(Path(made), calibration, times, files)
        put_in_place(Path(made), folder)


def load(
    model: nn.Module, folder: Path
) -> tuple[nn.Module, nn.Module, Calibration, tuple[Times, ...]]:
    """The fast model, the original, and the rule of a folder of `save`."""
    written = read_document(folder / _RULE, _parsed)
    for name, digest in written.files.items():
        if _digest(folder / name) != digest:
            raise VirtualPoolError(
                f"{folder / name}: is another file than the cascade was calibrated with; save the "
                "cascade again, or calibrate a new one."
            )
    fast, slow = (storage.load(model, folder / f"{name}.safetensors") for name in ("fast", "slow"))
    return fast, slow, written.calibration, written.times


def export(
    fast: nn.Module,
    slow: nn.Module,
    calibration: Calibration,
    times: Iterable[Times],
    folder: Path,
    example_inputs: Any,
    options: dict[str, Any],
) -> "dict[str, ExportReport]":
    """Writes both models as ONNX files, and the rule beside them."""
    from virtualpool.export import export as written

    made_folder(folder)
    models = {"fast": fast, "slow": slow}
    settings: dict[str, Any] = {"open_axes": "batch"} | options
    reports = {
        name: written(model, folder / f"{name}.onnx", example_inputs, **settings)
        for name, model in models.items()
    }
    _write(folder, calibration, times, [f"{name}.onnx" for name in models])
    return reports


def _write(
    folder: Path, calibration: Calibration, times: Iterable[Times], files: Iterable[str]
) -> None:
    value = {
        "calibration": asdict(calibration),
        "times": [each.to_json() for each in times],
        "files": {name: _digest(folder / name) for name in files},
    }
    write_document(folder / _RULE, value)


def _parsed(value: Any) -> _Written:
    written = converted(value, _Written, "a cascade")
    if written.files.keys() != {"fast.safetensors", "slow.safetensors"}:
        raise VirtualPoolError(
            f"Not a cascade of save: its files are {', '.join(written.files) or 'none'}. Load the "
            "folder of Cascade.save, not the one of its export."
        )
    return written


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise VirtualPoolError(f"{path}: cannot be read ({error.strerror}).") from error
