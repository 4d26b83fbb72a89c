import math

import pytest
import torch

from virtualpool.bound.measuring import gradient


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda row, column: 3 * row, 3),
        (lambda row, column: -2 * column, 2),
        (lambda row, column: row + column, math.sqrt(2)),
        (lambda row, column: row - column, math.sqrt(2)),
        (lambda row, column: 0 * row, 0),
    ],
)
@pytest.mark.parametrize("size", [(2, 2), (5, 7)])
def test_of_planes(change, expected, size):
    row, column = torch.meshgrid(*[torch.arange(float(n)) for n in size], indexing="ij")
    assert gradient(change(row, column).expand(1, 3, *size)) == pytest.approx(expected)


def test_of_two_channels_it_is_the_larger_one():
    map = torch.stack([torch.zeros(4, 4), torch.eye(4)])
    assert gradient(map) == 1
