import random

import numpy as np
import pytest
import torch

from virtualpool.search.seed import seeded


def _draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), torch.rand(()).item()


def test_the_same_key_gives_the_same_numbers():
    with seeded(0, "round", 1):
        first = _draw()
    _draw()
    with seeded(0, "round", 1):
        assert _draw() == first


@pytest.mark.parametrize("key", [(0, "round", 2), (1, "round", 1), (0, "evaluate", 1)])
def test_another_key_gives_other_numbers(key):
    with seeded(0, "round", 1):
        first = _draw()
    with seeded(*key):
        assert all(one != other for one, other in zip(_draw(), first, strict=True))


def test_the_caller_goes_on_as_if_nothing_was_drawn():
    def start() -> None:
        random.seed(5)
        np.random.seed(5)
        torch.manual_seed(5)

    start()
    expected = _draw()
    start()
    with pytest.raises(ZeroDivisionError), seeded(0):
        _ = _draw()[0] / 0
    assert _draw() == expected
