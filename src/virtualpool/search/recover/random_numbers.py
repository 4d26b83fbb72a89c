"""Random numbers that a killed and resumed training draws again exactly."""

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from virtualpool.graph import random_numbers as randomness


def mixed_seed(*numbers: int) -> int:
    """One seed made of several numbers: those of close neighbours have nothing in common.

    >>> mixed_seed(0, 1, 2) == mixed_seed(0, 1, 2), mixed_seed(0, 1, 2) == mixed_seed(0, 2, 1)
    (True, False)
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def drawn(batches: Iterable[Any], seed: int) -> Iterator[Any]:
    """The batches, their order and augmentation drawn from a random stream of their own.

    What the model draws between two batches does not change the next one, so to draw some batches
    and throw them away leads to the same batches as to train on them.
    """
    for owner in (batches, getattr(batches, "sampler", None)):
        for name in ("generator", "synchronized_generator"):
            generator = getattr(owner, name, None)
            if isinstance(generator, torch.Generator):
                generator.manual_seed(seed)
    stream = _Stream(seed)
    with stream.current():
        iterator = iter(batches)
    end = object()
    while True:
        with stream.current():
            batch = next(iterator, end)
        if batch is end:
            return
        yield batch


class _Stream:
    """The state of Python's, NumPy's and PyTorch's (CPU) random numbers, kept apart."""

    def __init__(self, seed: int) -> None:
        outside = randomness.states()
        random.seed(seed)
        np.random.seed(seed)
        torch.default_generator.manual_seed(seed)
        self._states = randomness.states()
        randomness.restore(outside)

    @contextmanager
    def current(self) -> Iterator[None]:
        outside = randomness.states()
        randomness.restore(self._states)
        try:
            yield
        finally:
            self._states = randomness.states()
            randomness.restore(outside)
