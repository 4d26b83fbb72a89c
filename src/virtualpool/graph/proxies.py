"""Stand-ins for values while code is traced, with the known facts about them."""

import inspect
import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn
from torch.fx.proxy import Attribute

from virtualpool.graph.arguments import arguments_of
from virtualpool.graph.containers import held_in
from virtualpool.graph.numbers import NumberError
from virtualpool.torch_private import ASKING_FOR_A_USER, own_buffers


class Known(fx.Proxy):
    """Stands in for a value whose kind, and whose length where it is a shape, are known."""

    tracer: Any

    def __getattr__(self, k: str) -> Any:
        return _KnownAttribute(self, k)  # pyright: ignore[reportArgumentType]

    @property
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        # For isinstance. PyTorch and this library ask for the real class.
        frame = inspect.currentframe()
        asking = frame.f_back.f_globals.get("__name__", "") if frame and frame.f_back else ""
        is_ours = asking.startswith(("torch.", "virtualpool.")) and asking != ASKING_FOR_A_USER
        return type(self) if is_ours else self.tracer.kind_of(self)

    def __len__(self) -> int:
        length = self.tracer.length_of(self)
        return super().__len__() if length is None else length

    def __int__(self) -> int:
        raise NumberError("int() of a value that is not known while code is traced")

    def __float__(self) -> float:
        raise NumberError("float() of a value that is not known while code is traced")


class _KnownAttribute(Known, Attribute):
    """Stands in for an attribute of such a value."""


class Parts(Known):
    """Stands in for a map that is cut into so many parts, which code may go through."""

    def __init__(self, node: fx.Node, tracer: Any, count: int) -> None:
        super().__init__(node, tracer)
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        return (operator.getitem(self, place) for place in range(len(self)))  # pyright: ignore


def count_of_parts(node: fx.Node) -> int | None:
    """Into how many parts a map is cut, where the code says so.

    Where there are fewer, as a map has not so many channels, the graph fails and is not used.
    """
    if node.target not in ("chunk", "split", torch.chunk, torch.split):
        return None
    given = arguments_of(node, ("map", "parts"))
    if node.target in ("chunk", torch.chunk):
        count = given.get("parts", given.get("chunks"))
        return count if isinstance(count, int) else None
    sizes = given.get("parts", given.get("split_size", given.get("split_size_or_sections")))
    return len(sizes) if isinstance(sizes, list | tuple) else None


def results_on(module: nn.Module) -> Iterator[str]:
    """The names of a module's attributes that hold, after a trace, values computed in it."""
    for name, value in {**vars(module), **own_buffers(module)}.items():
        if name != "_buffers" and any(isinstance(each, fx.Proxy) for each in held_in(value)):
            yield name
