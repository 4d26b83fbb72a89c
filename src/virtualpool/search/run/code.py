"""The code of a user's callables, as far as it can be read, to know them at another start."""

import dataclasses
import dis
import functools
import hashlib
import inspect
import math
import sysconfig
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

import torch

_CHANGERS = {"add", "append", "clear", "extend", "insert", "pop", "remove", "setdefault", "update"}
_STORES = ("STORE_ATTR", "STORE_DEREF", "STORE_GLOBAL")
_PLAIN = (
    *(bool, int, float, complex, str, bytes, type(None), type(...), range, slice, PurePath, Enum),
    *(torch.dtype, torch.device, torch.Size, torch.memory_format),
)
_LONGEST = 40


@dataclass
class Parts:
    """The parts of a callable, by their names.

    Attributes:
        compared: numbers and texts as they are, code and long values as a hash. JSON-able.
        left: the parts that could not be read, with their type: data, models, functions in C.
    """

    compared: dict[str, Any] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)


def parts_of(function: Callable[..., Any] | None) -> Parts:
    """The code of a callable and of its callees, with its defaults and closed-over values.

    Libraries' code is known by its name. A value that the code itself changes, such as a counter,
    belongs to no start and is left out, as are objects that hold data.

    >>> def make(rate):
    ...     return lambda model, round: rate * 2
    >>> one, other = parts_of(make(0.1)).compared, parts_of(make(0.2)).compared
    >>> {name for name in one if one[name] != other[name]}
    {'rate'}
    """
    reader = _Reader()
    if function is not None:
        reader.read("code", function)
    return Parts(reader.compared, sorted(set(reader.left)))


class _Reader:
    def __init__(self) -> None:
        self.compared: dict[str, Any] = {}
        self.left: list[str] = []
        self._seen: list[Any] = []  # the objects themselves: an id may be given again

    def read(self, name: str, value: Any) -> None:
        """Takes note of a value: of itself where it is plain, else of its parts."""
        if _is_plain(value):
            self.compared[name] = _short(value)
            return
        if isinstance(value, types.ModuleType) or any(value is it for it in self._seen):
            return
        self._seen.append(value)
        if isinstance(value, functools.partial):
            self.read(name, value.func)
            self._values(name, dict(enumerate(value.args)) | value.keywords)
        elif isinstance(value, types.MethodType):
            self.read(name, value.__func__)
            self.read(_joined(name, "self"), value.__self__)
        elif isinstance(value, types.FunctionType):
            self._function(name, value)
        elif isinstance(value, type):
            self._class(name, value)
        elif callable(wrapped := inspect.getattr_static(value, "__wrapped__", None)):
            self.read(name, wrapped)  # as functools.cache gives it
        elif isinstance(value, tuple | list) and len(value) <= 8:
            self._values(name, dict(enumerate(value)))
        else:
            self._object(name, value)

    def _values(self, name: str, values: dict[Any, Any]) -> None:
        for key, value in values.items():
            self.read(_joined(name, key), value)

    def _function(self, name: str, function: types.FunctionType) -> None:
        code, is_own = function.__code__, not _is_of_a_library(function)
        self.compared[name] = _hash(_text(code)) if is_own else _full_name(function)
        wrapped = getattr(function, "__wrapped__", None)
        if wrapped is not None and not is_own:  # a decorator of a library, such as torch.no_grad
            self.read(name, wrapped)
            return
        changed = _changed_by(code)
        self._values(name, _defaults(function))
        for variable, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            if variable not in changed and not _is_empty(cell):
                self._variable(_joined(name, variable), cell.cell_contents, code)
        if not is_own:
            return
        for variable in sorted(_globals_of(code) - changed):
            if variable in function.__globals__:
                self._variable(variable, function.__globals__[variable], code)

    def _variable(self, name: str, value: Any, code: types.CodeType) -> None:
        """A variable of a function; containers are left out where that fills any."""
        if isinstance(value, list | dict | set) and _fills_containers(code):
            self._leave(name, value)
        else:
            self.read(name, value)

    def _class(self, name: str, kind: type) -> None:
        self.compared[name] = _full_name(kind)
        if _is_of_a_library(kind):
            return
        for base in kind.__bases__:
            self.read(_joined(name, base.__name__), base)
        for attribute, value in sorted(vars(kind).items()):
            inner = getattr(value, "__func__", getattr(value, "fget", value))
            is_named = attribute.startswith("__") and not isinstance(inner, types.FunctionType)
            if not is_named and (_is_plain(inner) or isinstance(inner, types.FunctionType)):
                self.read(_joined(name, attribute), inner)

    def _object(self, name: str, value: Any) -> None:
        kind = type(value)
        if dataclasses.is_dataclass(value):
            fields = {
                it.name: getattr(value, it.name) for it in dataclasses.fields(value) if it.compare
            }
        elif not _is_of_a_library(kind) and not isinstance(value, torch.nn.Module):
            fields = dict(getattr(value, "__dict__", {}))
        else:
            self._leave(name, value)
            return
        self._class(_joined(name, "class"), kind)
        methods = [it.__code__ for it in vars(kind).values() if isinstance(it, types.FunctionType)]
        running = [code for code in methods if code.co_name not in ("__init__", "__post_init__")]
        changed = set().union(*map(_changed_by, running))
        fills = any(map(_fills_containers, running))
        for attribute, each in sorted(fields.items()):
            if attribute in changed:
                continue
            if fills and isinstance(each, list | dict | set):
                self._leave(_joined(name, attribute), each)
            else:
                self.read(_joined(name, attribute), each)

    def _leave(self, name: str, value: Any) -> None:
        shown = name.removeprefix("code.")
        self.left.append(f"{shown} ({type(value).__name__})")


def _joined(name: str, part: Any) -> str:
    return str(part) if name == "code" else f"{name}.{part}"


def _is_plain(value: Any) -> bool:
    """Whether a value is a number or a text, or made of such alone."""
    if isinstance(value, tuple | list | set | frozenset) and not hasattr(value, "_fields"):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(_is_plain(key) and _is_plain(item) for key, item in value.items())
    return isinstance(value, _PLAIN)


def _short(value: Any) -> Any:
    is_json = value is None or isinstance(value, bool | int | str)
    is_json = is_json or (isinstance(value, float) and math.isfinite(value))
    text = _text(value)
    if len(text) > _LONGEST:
        return _hash(text)
    return value if is_json and not isinstance(value, Enum) else text


def _text(value: Any) -> str:
    """The same text for equal values, in every process: sets have an order of their own in each."""
    if isinstance(value, types.CodeType):
        constants = [_text(each) for each in value.co_consts]
        names = (value.co_names, value.co_varnames, value.co_freevars)
        return f"{value.co_code.hex()} {constants} {names}"
    if isinstance(value, set | frozenset):
        return f"{{{sorted(map(_text, value))}}}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, dict):
        return str({_text(key): _text(item) for key, item in value.items()})
    return repr(value)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """A function's code, and the code of the functions in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _changed_by(code: types.CodeType) -> set[str]:
    """The closed-over and global variables and the attributes that code assigns to."""
    steps = (step for each in _codes(code) for step in dis.get_instructions(each))
    return {str(step.argval) for step in steps if step.opname in _STORES}


def _globals_of(code: types.CodeType) -> set[str]:
    steps = (step for each in _codes(code) for step in dis.get_instructions(each))
    return {str(step.argval) for step in steps if step.opname == "LOAD_GLOBAL"}


def _fills_containers(code: types.CodeType) -> bool:
    """Whether code seems to change lists or dicts, which then differ from start to start."""
    return any(
        _CHANGERS & {*each.co_names}
        or any(step.opname == "STORE_SUBSCR" for step in dis.get_instructions(each))
        for each in _codes(code)
    )


def _defaults(function: types.FunctionType) -> dict[str, Any]:
    given = function.__defaults__ or ()
    code = function.__code__
    names = code.co_varnames[: code.co_argcount][code.co_argcount - len(given) :]
    return dict(zip(names, given, strict=True)) | (function.__kwdefaults__ or {})


def _is_empty(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return True
    return False


def _full_name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _is_of_a_library(value: Any) -> bool:
    """Whether a function or class is of virtualpool, Python or an installed package."""
    module = getattr(value, "__module__", None) or ""
    if module.partition(".")[0] in ("virtualpool", "builtins"):
        return True
    code = getattr(value, "__code__", None)
    file = code.co_filename if code else getattr(inspect.getmodule(value), "__file__", None)
    if not file:
        return False
    path = Path(file)
    if {"site-packages", "dist-packages"} & {*path.parts}:
        return True
    return any(path.is_relative_to(place) for place in _PLACES)


_PLACES = {sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
