"""What of a forward comes of a selection by value, such as the best boxes."""

from typing import Any

import torch
from torch import Tensor

from virtualpool.graph.inputs import tensors
from virtualpool.torch_private import StorageWeakRef, TorchDispatchMode

_SELECTING = {"topk", "sort", "nms", "nonzero", "nonzero_static", "masked_select"}
_MASKS = torch.bool, torch.uint8


class Selections(TorchDispatchMode):
    """Notes what comes of a selection by value: the best boxes, the largest elements, a mask.

    Two networks that differ a little select others, in another order.

    >>> with Selections() as selections:
    ...     x = torch.rand(4, 3)
    ...     some = x[x.amax(1).topk(2).indices] + 1
    >>> selections.has_made(some), selections.has_made(x)
    (True, False)
    """

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[int, StorageWeakRef] = {}

    def has_made(self, x: Tensor) -> bool:
        """Whether a tensor comes of a selection."""
        return StorageWeakRef(x.untyped_storage()).cdata in self._made

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = tensors([args, kwargs or {}])
        selects = _selects(func, args) or any(map(self.has_made, given))
        out = func(*args, **(kwargs or {}))
        if selects:
            references = [StorageWeakRef(each.untyped_storage()) for each in tensors(out)]
            self._made |= {each.cdata: each for each in references}
        return out


def _selects(func: Any, args: Any) -> bool:
    name = func.overloadpacket.__name__
    is_mask = name == "index" and any(each.dtype in _MASKS for each in tensors(list(args[1])))
    return is_mask or name in _SELECTING
