import random

import numpy as np
import pytest
import torch

from virtualpool.graph import random_numbers as randomness

SOURCES = {
    "Python": random.random,
    "NumPy": np.random.rand,
    "PyTorch": lambda: torch.rand(()).item(),
}


@pytest.mark.parametrize("draw", SOURCES.values(), ids=SOURCES)
def test_a_draw_is_noticed_and_undone(draw):
    before = randomness.states()
    assert not randomness.are_drawn_since(before)
    first = draw()
    assert randomness.are_drawn_since(before)
    randomness.restore(before)
    assert not randomness.are_drawn_since(before)
    with pytest.raises(ZeroDivisionError), randomness.kept():
        assert draw() == first
        _ = 1 / 0
    assert draw() == first
