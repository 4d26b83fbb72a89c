"""Zeros beside a map let the reduced map pass."""

from collections.abc import Callable

import pytest
import torch
from tests.fuse.checks import fused_alike, images
from torch import Tensor, nn


def of_its_size(x: Tensor) -> Tensor:
    batch, _, height, width = x.shape
    return torch.zeros((batch, 2, height, width), dtype=x.dtype, device=x.device)


FILLED: dict[str, Callable[[Tensor], Tensor]] = {
    "zeros of its size": of_its_size,
    "zeros like it": torch.zeros_like,
    "like some channels": lambda x: torch.zeros_like(x[:, :1]),
    "ones like it": lambda x: torch.ones_like(x, dtype=torch.float32),
    "filled like it": lambda x: torch.full_like(x, fill_value=0.5),
    "new zeros": lambda x: x.new_zeros(x.size(0), 1, x.size(2), x.size(3)),
    "new, filled": lambda x: x.new_full((x.size(0), 3, x.size(2), x.size(3)), 2.0),
    "filled": lambda x: torch.full((x.size(0), 1, x.size(2), x.size(3)), 2.0),
}


class Net(nn.Module):
    """A site beside a constant; both are read by a convolution."""

    def __init__(self, fill: Callable[[Tensor], Tensor], stride: int) -> None:
        super().__init__()
        self.site, self.fill = nn.Conv2d(3, 4, 3, padding=1), fill
        channels = 4 + fill(torch.zeros(1, 4, 4, 4)).shape[1]
        self.reads = nn.Conv2d(channels, 4, 3, stride, 1)

    def forward(self, x):
        x = self.site(x).relu()
        return self.reads(torch.cat([x, self.fill(x)], 1))


@pytest.mark.parametrize("size", [(12, 12), (11, 13)])
@pytest.mark.parametrize("fill", FILLED.values(), ids=FILLED)
def test_the_reduced_map_passes(fill, size):
    others = [images(9, 9, batch=1), images(16, 11)]
    report = fused_alike(Net(fill, 2).double().eval(), images(*size), others=others)
    assert not report.interpolations or report.interpolations[0].sites == ("reads",)
    fused_alike(Net(fill, 1).double().eval(), images(*size), ["site"], others=others)


def test_a_constant_that_is_wanted_in_full_is_not_interpolated():
    class Full(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.site, self.reads = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1, 2)

        def forward(self, x):
            x = self.site(x).relu()
            return self.reads(x), torch.ones_like(x), of_its_size(x).cumsum(3) + 1

    report = fused_alike(Full().double().eval(), images(), ["site"], others=[images(9, 9)])
    assert not report.interpolations
