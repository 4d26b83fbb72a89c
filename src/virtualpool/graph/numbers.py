"""`int` and `float` of sizes in code that is traced, which then go into the graph."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn
from torch.overrides import handle_torch_function, has_torch_function_unary


class NumberError(TypeError):
    """Code asks for the number that a stand-in has, as `int(x.shape[-1])` does."""


def int_of(size: Any) -> Any:
    """`int` of a size, or of what code made of it; a stand-in has one.

    >>> int_of(7 / 2)
    3
    """
    if has_torch_function_unary(size):
        return handle_torch_function(int_of, (size,), size)
    # An exporter's open size stays open.
    return size if isinstance(size, torch.SymInt) else int(size)


def float_of(size: Any) -> Any:
    """`float` of a size, or of what code made of it; a stand-in has one.

    >>> float_of(7)
    7.0
    """
    if has_torch_function_unary(size):
        return handle_torch_function(float_of, (size,), size)
    return float(size)


class _Kind(type):
    """Kinds of numbers that pass for Python's own where code asks for the kind of a value."""

    number: type
    of_size: Any

    def __instancecheck__(cls, instance: Any) -> bool:
        kind = instance.tracer.kind_of(instance) if _stands_in(instance) else type(instance)
        return issubclass(kind, cls.number)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.number)

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is cls.number

    def __hash__(cls) -> int:
        return hash(cls.number)

    def __call__(cls, *given: Any, **keywords: Any) -> Any:
        if len(given) == 1 and _stands_in(given[0]):
            return cls.of_size(given[0])
        return cls.number(*given, **keywords)


def _stands_in(value: Any) -> bool:
    return issubclass(type(value), fx.Proxy)


def _kind(number: type, of_size: Any) -> _Kind:
    return _Kind(number.__name__, (), {"number": number, "of_size": staticmethod(of_size)})


_KINDS = {"int": _kind(int, int_of), "float": _kind(float, float_of)}


@contextmanager
def numbers_followed(module: nn.Module) -> Iterator[None]:
    """Within, `int` and `float` of a stand-in are stand-ins, in the code of a module's classes.

    Elsewhere, and in PyTorch's own code, they are Python's.
    """
    classes = {each for child in module.modules() for each in type(child).__mro__}
    scopes = {id(scope): scope for scope in map(_scope, classes) if scope}
    added = [(scope, name) for scope in scopes.values() for name in _KINDS if name not in scope]
    try:
        for scope, name in added:
            scope[name] = _KINDS[name]
        yield
    finally:
        for scope, name in added:
            del scope[name]


def _scope(kind: type) -> dict[str, Any] | None:
    """The global names of the code of a class, if it is not PyTorch's."""
    forward: Any = inspect.unwrap(vars(kind).get("forward", object()))  # pyright: ignore
    scope = getattr(forward, "__globals__", {})
    return None if scope.get("__name__", "").partition(".")[0] == "torch" else scope
