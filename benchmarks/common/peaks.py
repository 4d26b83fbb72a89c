"""The peak of the memory that is taken while something runs, measured in two ways."""

import gc
from collections.abc import Callable
from itertools import accumulate
from typing import Any

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from virtualpool.graph.inputs import tensors


def tensor_bytes(function: Callable[[], Any], before: list[Tensor]) -> int:
    """The most bytes that the results of operations took at once.

    It is taken after every operation, with the tensors that the function still holds or keeps for
    the backward pass. Scratch inside an operation does not count. Compiled code is not seen.

    Args:
        function: of nothing; called once before, so that lasting values are there.
        before: tensors that were there already and do not count, such as weights and images.

    >>> import torch
    >>> a = torch.ones(1000)
    >>> tensor_bytes(lambda: (a + 1) * (a + 2), [a])
    12000
    """
    function()
    gc.collect()
    with _Results(before) as results:
        function()
    return results.peak


class _Results(TorchDispatchMode):
    """Follows the storages of all results of operations for as long as they live."""

    def __init__(self, before: list[Tensor]) -> None:
        super().__init__()
        self.peak = 0
        self._before = {StorageWeakRef(each.untyped_storage()) for each in before}
        self._bytes: dict[StorageWeakRef, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any | None = None
    ) -> Any:
        results = func(*args, **(kwargs or {}))
        for storage in (each.untyped_storage() for each in tensors(results)):
            reference = StorageWeakRef(storage)
            if reference not in self._before:
                self._bytes[reference] = storage.nbytes()
        self._bytes = {each: size for each, size in self._bytes.items() if not each.expired()}
        self.peak = max(self.peak, sum(self._bytes.values()))
        return results


def allocated_bytes(function: Callable[[], Any]) -> int:
    """The most bytes of PyTorch's allocator on the CPU that were taken at once.

    It is the running sum of all that was given and given back since the function was called, in
    compiled code too. Scratch counts: oneDNN's copies of weights in an order of its own, above all.

    Args:
        function: of nothing; called once before, so that lasting values are there.

    >>> import torch
    >>> a = torch.ones(1000)
    >>> allocated_bytes(lambda: (a + 1) * (a + 2))
    12000
    """
    function()
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as measured:
        function()
    assert measured.profiler is not None
    assert measured.profiler.kineto_results is not None
    events: list[Any] = measured.profiler.kineto_results.events()
    changes = [(each.start_ns(), each.nbytes()) for each in events if each.name() == "[memory]"]
    return max(accumulate(change for _, change in sorted(changes)), default=0)
