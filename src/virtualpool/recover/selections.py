"""The part of a forward that comes of a selection by value, such as the best boxes."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from virtualpool.graph.inputs import tensors
from virtualpool.torch_private import StorageWeakRef, TorchDispatchMode, memory_of

_SELECTING = {"topk", "sort", "nms", "nonzero", "nonzero_static", "masked_select"}
_MASKS = torch.bool, torch.uint8


class Selections(TorchDispatchMode):
    """Notes results of a selection by value: the best boxes, the largest elements, a mask.

    Two networks that differ a little select others, in another order.

    >>> with Selections() as selections:
    ...     x = torch.rand(4, 3)
    ...     some = x[x.amax(1).topk(2).indices] + 1
    >>> selections.has_made(some), selections.has_made(x)
    (True, False)
    """

    def __init__(self) -> None:
        super().__init__()
        self._made: set[int] = set()
        self._layers: dict[int, frozenset[str]] = {}
        self._references: dict[int, StorageWeakRef] = {}
        self._read: set[str] = set()

    def has_made(self, x: Tensor) -> bool:
        """Whether a tensor comes of a selection."""
        return memory_of(x).cdata in self._made

    def called(self, layer: str, read: Tensor, out: Tensor) -> None:
        """Is told of each layer that is called."""
        if not self.has_made(read):
            self._read |= self._layers.get(memory_of(read).cdata, frozenset())
        self._layers[self._kept(out)] = frozenset([layer])

    def are_last(self, layers: Iterable[str]) -> list[str]:
        """The layers that no other layer reads, but through a selection."""
        return [layer for layer in layers if layer not in self._read]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = tensors([args, kwargs or {}])
        selects = _selects(func, args) or any(map(self.has_made, given))
        empty: frozenset[str] = frozenset()
        layers = empty.union(*(self._layers.get(memory_of(each).cdata, empty) for each in given))
        out = func(*args, **(kwargs or {}))
        for each in tensors(out):
            key = self._kept(each)
            self._layers[key] = layers
            if selects:
                self._made.add(key)
        return out

    def _kept(self, x: Tensor) -> int:
        # With a reference to it, no other memory has its address.
        reference = memory_of(x)
        return self._references.setdefault(reference.cdata, reference).cdata


def _selects(func: Any, args: Any) -> bool:
    name = func.overloadpacket.__name__
    is_mask = name == "index" and any(each.dtype in _MASKS for each in tensors(list(args[1])))
    return is_mask or name in _SELECTING
