"""Random numbers that a killed and resumed training draws again exactly."""

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor


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
        outside = _states()
        random.seed(seed)
        np.random.seed(seed)
        torch.default_generator.manual_seed(seed)
        self._states = _states()
        _restore(outside)

    @contextmanager
    def current(self) -> Iterator[None]:
        outside = _states()
        _restore(self._states)
        try:
            yield
        finally:
            self._states = _states()
            _restore(outside)


def _states() -> tuple[Any, Any, Tensor]:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def _restore(states: tuple[Any, Any, Tensor]) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
