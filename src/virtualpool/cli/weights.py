"""Weights from the file that the command line names."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from virtualpool import storage
from virtualpool.errors import VirtualPoolError
from virtualpool.words import first_line

SUFFIXES = (".safetensors", ".pt", ".pth")


def are_in_file(weights: str | None) -> bool:
    """Whether weights are given as a path, and not by a name or not at all."""
    return weights is not None and Path(weights).suffix in SUFFIXES


def with_weights(module: nn.Module, path: Path) -> nn.Module:
    """A network with the weights of a file; pooled, unfused, if the file holds a pooled one.

    Raises:
        VirtualPoolError: the file is missing, broken, or of another network.
    """
    if not path.is_file():
        raise VirtualPoolError(f"{path}: no such file of weights.")
    if path.suffix == ".safetensors" and _is_pooled(path):
        return storage.load(module, path, unfused=True)
    state = _read_state(path)
    try:
        module.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        what = " ".join(str(error).split())
        raise VirtualPoolError(
            f"{path}: these weights do not fit the model. {what:.300}"
        ) from error
    return module


def _is_pooled(path: Path) -> bool:
    try:
        with safe_open(path, "pt") as file:
            return "virtualpool" in (file.metadata() or {})
    except SafetensorError as error:
        raise VirtualPoolError(
            f"{path}: not a safetensors file, or cut short ({error})."
        ) from error


def _read_state(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises UnpicklingError, RuntimeError, EOFError, ...
        what = first_line(error)
        raise VirtualPoolError(
            f"{path}: cannot be read as a state dict ({what}); "
            "save it by torch.save(model.state_dict(), path)."
        ) from error
