"""RoIAlign of an interpolated map, in a network that can be traced."""

from typing import Any

import pytest
import torch
from tests.fuse.checks import assert_same, images, pooled_and_fused, run
from torch import nn
from torchvision.ops import RoIAlign

BOXES = [
    torch.tensor([[0.0, 0, 12, 10], [2, 1, 9, 11]]).double(),
    torch.tensor([[1.0, 0, 8, 7]]).double(),
]


class Regions(nn.Module):
    """A convolution, the regions of its map, and a convolution of them."""

    def __init__(self, align):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.align = align
        self.second = nn.Conv2d(4, 4, 3)

    def forward(self, maps, boxes):
        return self.second(self.align(self.first(maps).relu(), boxes))


def fused(align: Any, boxes: Any, sites: list[str]) -> Any:
    model = Regions(align).double().eval()
    pooled, fast, report = pooled_and_fused(model, (images(), boxes), sites)
    for moved in (0, 1, -3):
        given = [each + moved for each in boxes] if isinstance(boxes, list) else boxes
        assert_same(run(fast, images(), given), run(pooled, images(), given))
    return report


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("boxes", [BOXES, torch.cat([torch.zeros(2, 1), BOXES[0]], 1).double()])
def test_a_fixed_number_of_samples_reads_the_reduced_map(aligned, boxes):
    report = fused(RoIAlign(4, 1.0, 2, aligned), boxes, ["first"])
    assert report.fused == ("first",)


@pytest.mark.parametrize(
    ("align", "sites"), [(RoIAlign(4, 1.0, -1, True), ["first"]), (RoIAlign(4, 1.0, 2), ["second"])]
)
def test_else_it_reads_the_map_in_full(align, sites):
    report = fused(align, BOXES, sites)
    assert report.fused == ()
