"""Networks that a function in the user's own file builds."""

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from virtualpool.errors import VirtualPoolError
from virtualpool.words import first_line, nearest


def network_from(path: Path, function: str) -> nn.Module:
    """The result of a function of a Python file, called without arguments.

    Raises:
        VirtualPoolError: there is no such file or function, it raises, or it returns no module.
    """
    if not path.is_file():
        raise VirtualPoolError(
            f"{path}: no such file; give the path of a Python file and a function in it."
        )
    namespace = vars(_guarded(path, lambda: _imported(path)))
    if not callable(create := namespace.get(function)):
        here = [
            name
            for name, value in namespace.items()
            if callable(value) and getattr(value, "__module__", None) == namespace["__name__"]
        ]
        raise VirtualPoolError(f"{path} has no function {function!r}{nearest(function, here)}.")
    if missing := _required(create):
        raise VirtualPoolError(
            f"{path}:{function} needs {', '.join(missing)}; "
            "give a function that can be called without arguments."
        )
    module = _guarded(path, create)
    if not isinstance(module, nn.Module):
        kind = type(module).__name__
        raise VirtualPoolError(
            f"{path}:{function} gave a {kind}; it must return a torch.nn.Module."
        )
    return module


def _imported(path: Path) -> Any:
    # Like `python file.py`: the file's own folder can be imported from.
    sys.path.insert(0, str(path.parent.resolve()))
    name = f"_users_{path.stem}"  # a user's random.py must not take the place of Python's
    spec = importlib.util.spec_from_file_location(name, path.absolute())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _guarded(path: Path, function: Callable[[], Any]) -> Any:
    # The user's code: whatever it raises is said with the line of their file.
    try:
        return function()
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path.absolute())]
        line = f", line {lines[-1]}" if lines else ""
        what = first_line(f"{type(error).__name__}: {error}")
        raise VirtualPoolError(f"{path}{line} raised {what}.") from error


def _required(function: Callable[..., Any]) -> list[str]:
    return [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
