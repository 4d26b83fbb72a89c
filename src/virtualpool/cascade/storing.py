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

SAVED = "cascade.json"
"""The file by which a folder is known as a cascade."""

_EXPORTED = "rule.json"
_MODELS = ("fast.safetensors", "slow.safetensors")


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
    _check_free(folder)
    with tempfile.TemporaryDirectory() as made:
        for name, model in zip(_MODELS, (fast, slow), strict=True):
            storage.save(model, Path(made, name))
        _write(Path(made, SAVED), calibration, times, _MODELS)
        put_in_place(Path(made), folder)


def load(
    model: nn.Module, folder: Path
) -> tuple[nn.Module, nn.Module, Calibration, tuple[Times, ...]]:
    """The fast model, the original, and the rule of a folder of `save`."""
    written = read_document(folder / SAVED, _parsed)
    for name, digest in written.files.items():
        if _digest(folder / name) != digest:
            raise VirtualPoolError(
                f"{folder / name}: is another file than the cascade was calibrated with; save the "
                "cascade again, or calibrate a new one."
            )
    fast, slow = (storage.load(model, folder / name) for name in _MODELS)
    return fast, slow, written.calibration, written.times


def rule_of(folder: Path) -> tuple[Calibration, tuple[Times, ...]]:
    """The calibration and the latencies of a saved cascade, without its models.

    Raises:
        VirtualPoolError: the folder holds no cascade, or a broken one.
    """
    written = read_document(folder / SAVED, _parsed)
    return written.calibration, written.times


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
    from virtualpool.export import export as export_one

    made_folder(folder)
    models = {"fast": fast, "slow": slow}
    settings: dict[str, Any] = {"open_axes": "batch"} | options
    reports = {
        name: export_one(model, folder / f"{name}.onnx", example_inputs, **settings)
        for name, model in models.items()
    }
    _write(folder / _EXPORTED, calibration, times, [f"{name}.onnx" for name in models])
    return reports


def _write(
    path: Path, calibration: Calibration, times: Iterable[Times], files: Iterable[str]
) -> None:
    value = {
        "calibration": asdict(calibration),
        "times": [each.to_json() for each in times],
        "files": {name: _digest(path.parent / name) for name in files},
    }
    write_document(path, value)


def _parsed(value: Any) -> _Written:
    written = converted(value, _Written, "a cascade")
    if sorted(written.files) != sorted(_MODELS):
        raise VirtualPoolError(
            f"Not a cascade: its files are {', '.join(written.files) or 'none'}, and Cascade.save "
            f"writes {' and '.join(_MODELS)}. Save it again."
        )
    return written


def _check_free(folder: Path) -> None:
    """Refuses a folder with other files: to save there would remove them."""
    found = sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
    if other := [name for name in found if name not in (SAVED, *_MODELS)]:
        raise VirtualPoolError(
            f"{folder}: holds other files ({other[0]}), and a cascade has a folder to itself. Give "
            "the path of a new one."
        )


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise VirtualPoolError(f"{path}: cannot be read ({error.strerror}).") from error
