"""Parts of a model with the inputs of their first call."""

import pytest
import torch
from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.export.part import part_of


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head, self.unused = Head(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x + 1, scale=2 * x) + self.head(x, scale=x)


class Head(nn.Module):
    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        return x * scale


def test_arguments_by_position_and_by_name() -> None:
    model = Model()
    part, inputs = part_of(model, torch.ones(2), "head")
    assert part is model.head
    assert {name: value.tolist() for name, value in inputs.items()} == {
        "x": [2.0, 2.0],
        "scale": [2.0, 2.0],
    }


def test_parts_that_are_not_there_or_not_called() -> None:
    with pytest.raises(VirtualPoolError, match=r"no part 'heat'.*head"):
        part_of(Model(), torch.ones(2), "heat")
    with pytest.raises(VirtualPoolError, match="does not call its part unused"):
        part_of(Model(), torch.ones(2), "unused")
