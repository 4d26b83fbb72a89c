"""The random numbers of Python, NumPy and PyTorch: a model may draw from all three."""

import hashlib
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

States = tuple[Any, Any, Tensor, list[Tensor]]


def states() -> States:
    """Where the random numbers are."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda


def restore(states: States) -> None:
    """Puts the random numbers back to where they were."""
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    if states[3]:
        torch.cuda.set_rng_state_all(states[3])


def seed(number: int) -> None:
    """Seeds PyTorch on every device, as `torch.manual_seed`.

    PyTorch's own notes the stack of calls for each kind of device that is not in use. This takes a
    millisecond: too long for every run of every part.
    """
    if torch.accelerator.is_available():
        torch.manual_seed(number)
    else:
        torch.default_generator.manual_seed(number)


def of_pytorch(device: torch.device) -> list[Tensor]:
    """Where PyTorch's random numbers are, of the CPU and of a device."""
    on_gpu = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *on_gpu]


def restore_pytorch(states: Sequence[Tensor], device: torch.device) -> None:
    """Puts back the states of `of_pytorch`."""
    cpu, *on_gpu = states
    torch.set_rng_state(cpu)
    if on_gpu:
        torch.cuda.set_rng_state(on_gpu[0], device)


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
        and now[1][2:] == before[1][2:]
        and np.array_equal(now[1][1], before[1][1])
        and torch.equal(now[2], before[2])
        and all(map(torch.equal, now[3], before[3]))
    )


@contextmanager
def kept() -> Iterator[None]:
    """Puts the random numbers back at the end, the ones of CUDA devices too."""
    before = states()
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        try:
            yield
        finally:
            restore(before)


@contextmanager
def seeded(*key: int | str) -> Iterator[None]:
    """The same random numbers for the same key; the caller's own go on afterwards as if unused.

    Covers Python, NumPy and torch on every device. A stage of a run that is seeded by its name
    gives the same after a kill and a second start as in one go.

    >>> with seeded(0, "round", 1):
    ...     first = torch.rand(3)
    >>> with seeded(0, "round", 1):
    ...     print(torch.equal(first, torch.rand(3)))
    True
    """
    number = int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:4], "little")
    with kept():
        random.seed(number)
        np.random.seed(number)
        seed(number)
        yield


def mixed_seed(*numbers: int) -> int:
    """One seed made of several numbers: close neighbours' seeds have nothing in common.

    >>> mixed_seed(0, 1, 2) == mixed_seed(0, 1, 2), mixed_seed(0, 1, 2) == mixed_seed(0, 2, 1)
    (True, False)
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def drawn(batches: Iterable[Any], seed: int) -> Iterator[Any]:
    """The batches, their order and augmentation drawn from a random stream of their own.

    The model's draws between two batches do not change the next one, so to draw some batches
    and throw them away leads to the same batches as to train on them.
    """
    for owner in (batches, getattr(batches, "sampler", None)):
        for name in ("generator", "synchronized_generator"):
            generator = getattr(owner, name, None)
            if isinstance(generator, torch.Generator):
                generator.manual_seed(seed)
    stream = Stream(seed)
    with stream.current():
        iterator = iter(batches)
    end = object()
    while True:
        with stream.current():
            batch = next(iterator, end)
        if batch is end:
            return
        yield batch


class Stream:
    """Random numbers of Python, NumPy and PyTorch that go on by themselves.

    >>> stream, other = Stream(0), Stream(0)
    >>> with stream.current():
    ...     first = random.random()
    >>> with stream.current():
    ...     second = random.random()
    >>> with other.current():
    ...     print([random.random(), random.random()] == [first, second])
    True
    """

    def __init__(self, seed: int) -> None:
        outside = states()
        random.seed(seed)
        np.random.seed(seed)
        torch.default_generator.manual_seed(seed)
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(seed)
        self._states = states()
        restore(outside)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Draws from this stream within, and from the caller's afterwards."""
        outside = states()
        restore(self._states)
        try:
            yield
        finally:
            self._states = states()
            restore(outside)
