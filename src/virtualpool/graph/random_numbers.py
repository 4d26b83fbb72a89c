"""The random numbers of Python, NumPy and PyTorch (CPU), all of which a model may draw from."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

States = tuple[Any, Any, Tensor]


def states() -> States:
    """Where the random numbers are."""
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def restore(states: States) -> None:
    """Puts the random numbers back to where they were."""
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])


def are_drawn_since(before: States) -> bool:
    """Whether a random number was drawn.

    >>> before = states()
    >>> are_drawn_since(before)
    False
    >>> number = random.random()
    >>> are_drawn_since(before)
    True
    """
    now = states()
    return not (
        now[0] == before[0]
        and all(map(np.array_equal, now[1], before[1]))
        and torch.equal(now[2], before[2])
    )


@contextmanager
def kept() -> Iterator[None]:
    """Puts the random numbers back at the end, those of CUDA devices too."""
    before = states()
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        try:
            yield
        finally:
            restore(before)
