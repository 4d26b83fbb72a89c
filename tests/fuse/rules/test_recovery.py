"""The sizes of maps are computed without making the maps."""

import pytest
import torch
from tests.fuse.checks import fused_alike, images, pooled_and_fused
from torch import nn
from torch.nn import functional

from virtualpool.operator.pool import virtual_pool

ASKED = {
    "shape": lambda x: x.shape[2] * x.shape[-1],
    "size": lambda x: x.size()[3] + x.size(2) * x.size(-1),
    "the rest of its shape": lambda x: x.shape[0] + x.shape[1],
    "the number of axes": lambda x: x.dim() + x.ndim,
    "dtype": lambda x: torch.ones(1, dtype=x.dtype, device=x.device),
    "a map like it": lambda x: torch.arange(x.shape[-1]).sum(),
}


class Net(nn.Module):
    def __init__(self, asked):
        super().__init__()
        self.site, self.reads = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, 2, 1)
        self.asked = asked

    def forward(self, x):
        value = self.site(x).relu()
        return self.reads(value) * self.asked(value)


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("names", ["all", ["site"], ["reads"]])
def test_what_is_asked_of_a_map_that_is_not_there(asked, names):
    model = Net(asked).double().eval()
    report = fused_alike(model, images(), names, others=[images(9, 8), images(17, 13, batch=1)])
    assert ("site" in report.fused) == (names != ["reads"])


class Resized(nn.Module):
    """A small map brought to the size of one that is reduced, and a size that is made of it."""

    def __init__(self):
        super().__init__()
        self.site, self.deep = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, 4, 1)
        self.reads = nn.Conv2d(4, 4, 3, 2, 1)

    def forward(self, x):
        value = self.site(x).relu()
        deep = functional.interpolate(self.deep(value), size=value.shape[2:], mode="nearest")
        return self.reads(value) + self.reads(deep), value.shape, deep.size(3)


def test_sizes_are_outputs():
    fused_alike(Resized().double().eval(), images(), ["site"], others=[images(19, 21)])


def test_where_nothing_can_be_fused_it_is_as_it_was():
    reads = nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), reads).double()
    _, fused, report = pooled_and_fused(model.eval(), images(), ["0"])
    assert report.fused == ()
    assert report.interpolations[0].asked_by == ("2",)
    assert virtual_pool in type(fused).evaluation.names.values()  # pyright: ignore
