"""Whether some tensors of a module are still the ones, with the values, that they were before."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version
from torch.optim.optimizer import register_optimizer_step_post_hook

from virtualpool.torch_private import stay_at, versions_of


def attribute(module: nn.Module, path: str) -> Any:
    """The value at a dotted path from a module: "layer1.0.conv1.weight"."""
    found: Any = module
    for name in path.split("."):
        found = getattr(found, name)
    return found


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Where a module had tensors, which these were, and how often each had been written to.

    Writes through `tensor.data`, or by the replay of a CUDA graph, PyTorch does not count,
    so they are not seen here either; that `tensor.data` was replaced is seen.

    Attributes:
        places: of each module and tensor on the way the dict that has it, its key there, and it.
        tensors: each tensor once.
        versions: how often each had been written to.
        are_in_place: whether the values of each are where they were.
    """

    places: tuple[tuple[dict[str, Any], str, Any], ...]
    tensors: list[Tensor]
    versions: list[int]
    are_in_place: Callable[[], bool]

    @classmethod
    def of(cls, module: nn.Module, paths: Iterable[str]) -> "Snapshot | None":
        """None where no change would be seen.

        That is so of tensors that are computed anew whenever they are read, as by a
        parametrization; of inference tensors; and of tensors of `torch.func` or fake ones.
        """
        places: dict[tuple[int, str], tuple[dict[str, Any], str, Any]] = {}
        found: dict[int, Tensor] = {}
        for path in paths:
            holder: Any = module
            owner: Any = module
            for name in path.split("."):
                place = _place(owner, name)
                if place is None:
                    return None
                places[id(owner), name] = place
                holder, owner = owner, place[2]
            # PyTorch does not count batch norm's writes to its statistics, but it does count
            # writes to its `num_batches_tracked`.
            beside = [each for each in vars(holder)["_buffers"].values() if each is not None]
            found.update((id(tensor), tensor) for tensor in (owner, *beside))
        tensors = list(found.values())
        if not all(map(_has_values, tensors)):
            return None
        try:
            versions, addresses = versions_of(tensors), [tensor.data_ptr() for tensor in tensors]
        except RuntimeError:  # one has no version, or no values of its own
            return None
        return cls(tuple(places.values()), tensors, versions, stay_at(tensors, addresses))

    def is_current(self) -> bool:
        """Whether all is in its place, with nothing written to it.

        >>> model = nn.Linear(2, 2)
        >>> snapshot = Snapshot.of(model, ["weight"])
        >>> snapshot.is_current()
        True
        >>> _ = nn.init.zeros_(model.weight)
        >>> snapshot.is_current()
        False
        """
        # This is asked at every forward: no function of Python's is called for each tensor.
        for mapping, key, value in self.places:
            if mapping.get(key) is not value:
                return False
        return versions_of(self.tensors) == self.versions and self.are_in_place()

    def __reduce__(self) -> Any:
        # A copy of the module has other tensors: of them nothing is known. This gives None.
        return type(None), ()


def _has_values(tensor: Tensor) -> bool:
    """Whether a tensor's memory is its own: a fake one warns that its address means nothing."""
    kind: Any = type(tensor)  # PyTorch's stubs do not know the attribute
    plain: Any = Tensor
    return kind.__torch_dispatch__ is plain.__torch_dispatch__


def _place(owner: Any, name: str) -> tuple[dict[str, Any], str, Any] | None:
    # In the order in which an attribute is looked up.
    own = vars(owner)
    for mapping in (own, *(own.get(kind, {}) for kind in ("_parameters", "_buffers", "_modules"))):
        if name in mapping:
            return mapping, name, mapping[name]
    return None


def _count_steps(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Counts fused optimizers' writes to parameters, which PyTorch itself does not."""
    for group in optimizer.param_groups:
        if group.get("fused"):
            increment_version(group["params"])


register_optimizer_step_post_hook(_count_steps)
