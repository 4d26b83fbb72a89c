"""Short values by which a start knows that it is asked the same as an earlier one."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """A hash of the names, dtypes, shapes and values of tensors, such as a `state_dict`.

    >>> weights = {"weight": torch.zeros(2)}
    >>> fingerprint(weights) == fingerprint({"weight": torch.zeros(2)})
    True
    >>> fingerprint(weights) == fingerprint({"weight": torch.zeros(2, dtype=torch.float64)})
    False
    """
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        if isinstance(tensor, Tensor):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]


def name_of(function: Callable[..., Any] | None) -> str | None:
    """The name of a callable; of a closure, the name of the function that made it.

    >>> name_of(fingerprint), name_of(None)
    ('fingerprint', None)
    """
    if function is None:
        return None
    function = getattr(function, "func", function)
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return name.split(".<locals>")[0]
