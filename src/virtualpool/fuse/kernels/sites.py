"""The maps of sites in a fused graph, where no module gives them any more."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

NAME = "virtualpool site"
"""Under this key the node of a virtual pool has the name of its site in the model."""

_observed: ContextVar[dict[str, list[Tensor]] | None] = ContextVar("observed", default=None)


def observed(x: Tensor, name: str) -> Tensor:
    """A site's reduced map, as it is; kept for who observes."""
    maps = _observed.get()
    if maps is not None:
        maps.setdefault(name, []).append(x)
    return x


@contextmanager
def observing() -> Iterator[dict[str, list[Tensor]]]:
    """The reduced maps of a model's sites, of all calls of each, as they are computed within.

    Only a model that was fused for training tells of them, in training mode.

    >>> import torch
    >>> with observing() as maps:
    ...     _ = observed(torch.zeros(1, 8, 4, 4), "features.0")
    >>> [(name, len(calls)) for name, calls in maps.items()]
    [('features.0', 1)]
    """
    maps: dict[str, list[Tensor]] = {}
    token = _observed.set(maps)
    try:
        yield maps
    finally:
        _observed.reset(token)
