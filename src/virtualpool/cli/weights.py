"""Weights from the file that the command line names."""

import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from virtualpool import storage
from virtualpool.cli.checkpoints import State, weights_in
from virtualpool.errors import VirtualPoolError
from virtualpool.words import first_line, some

SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".tar")


def are_in_file(weights: str | None) -> bool:
    """Whether weights are given as a path, and not by a name or not at all."""
    return weights is not None and file_of(weights).suffix in SUFFIXES


def file_of(weights: str) -> Path:
    """The file of weights that are given as FILE or FILE#KEY.

    >>> file_of("runs/last.pt#model_ema").name
    'last.pt'
    """
    return Path(weights.partition("#")[0])


def with_weights(module: nn.Module, weights: str) -> nn.Module:
    """A network with the weights of a file; pooled, unfused, if the file holds a pooled one.

    Args:
        module: the network; its weights are changed.
        weights: FILE, or FILE#KEY where a checkpoint holds several. See `checkpoints.weights_in`.

    Raises:
        VirtualPoolError: the file is missing, broken, or of another network.
    """
    path, key = file_of(weights), weights.partition("#")[2] or None
    if not path.is_file():
        raise VirtualPoolError(f"{path}: no such file of weights.")
    if path.suffix == ".safetensors" and _is_pooled(path):
        return storage.load(module, path, unfused=True)
    content = _read(path)
    try:
        state = weights_in(content, module, key)
    except VirtualPoolError as error:
        raise VirtualPoolError(f"{path}: {error}") from error
    try:
        module.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise VirtualPoolError(
            f"{path}: these weights do not fit the model{_misfit(state, module.state_dict())}. "
            "Build it as it was trained, with its own number of classes: FILE.py:FUNCTION names a "
            "function that does so."
        ) from error
    return module


def _misfit(given: State, own: State) -> str:
    """What a state dict and a network's own have not in common, for the end of a message."""
    shapes = [
        f"{name} is {tuple(value.shape)} in the file and {tuple(own[name].shape)} in the model"
        for name, value in given.items()
        if name in own and value.shape != own[name].shape
    ]
    only = {
        "in the file alone": [name for name in given if name not in own],
        "in the model alone": [name for name in own if name not in given],
    }
    parts = [some(shapes, 1)] if shapes else []
    parts += [f"{some(names)} {where}" for where, names in only.items() if names]
    return ": " + "; ".join(parts) if parts else ""


def _is_pooled(path: Path) -> bool:
    try:
        with safe_open(path, "pt") as file:
            return "virtualpool" in (file.metadata() or {})
    except SafetensorError as error:
        raise VirtualPoolError(
            f"{path}: not a safetensors file, or cut short ({error})."
        ) from error


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises UnpicklingError, RuntimeError, EOFError, ...
        if pickled := re.search(r"Unsupported global: GLOBAL (\S+)", str(error)):
            raise VirtualPoolError(
                f"{path}: holds a pickled {pickled[1]}, and reading that runs code of the file. If "
                f"you trust it: torch.save(torch.load({str(path)!r}, weights_only=False)"
                ".state_dict(), 'weights.pt'), with [KEY] before .state_dict() if it is in a dict."
            ) from error
        what = first_line(error)
        raise VirtualPoolError(
            f"{path}: cannot be read as a state dict ({what}); "
            "save it by torch.save(model.state_dict(), path)."
        ) from error
