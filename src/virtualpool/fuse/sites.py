"""The maps of sites in a fused graph, where no module gives them any more."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

NAME = "virtualpool site"
"""Under this key the node of a virtual pool has the name of its site in the model."""

_observed: ContextVar[dict[str, Tensor] | None] = ContextVar("observed", default=None)


def observed(map: Tensor, name: str) -> Tensor:
    """A site's reduced map, as it is; kept for who observes."""
    maps = _observed.get()
    if maps is not None:
        maps[name] = map
    return map


@contextmanager
def observing() -> Iterator[dict[str, Tensor]]:
    """The reduced maps of a model's sites, as they are computed within.

    Only a model that was fused for training tells of them.

    >>> import torch
    >>> with observing() as maps:
    ...     _ = observed(torch.zeros(1, 8, 4, 4), "features.0")
    >>> list(maps)
    ['features.0']
    """
    maps: dict[str, Tensor] = {}
    token = _observed.set(maps)
    try:
        yield maps
    finally:
        _observed.reset(token)
