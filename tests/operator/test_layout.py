"""How a map lies in memory."""

import pytest
import torch
from torch import nn

import virtualpool as vp
from virtualpool import VirtualPoolError
from virtualpool.operator.layout import layout

LAST, FIRST = torch.channels_last, torch.contiguous_format
MAP = torch.zeros(2, 4, 5, 6)
LAST_MAP = MAP.contiguous(memory_format=LAST)


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (MAP, FIRST),
        (MAP[..., 1:4, 1:4], FIRST),
        (MAP[:, 1:3], FIRST),
        (LAST_MAP, LAST),
        (LAST_MAP[..., 1:4, 1:4], LAST),
        (LAST_MAP[:, 1:3], LAST),  # half of the channels: no format of PyTorch's, but laid out so
        (torch.zeros(2, 4, 1, 1), FIRST),
        (torch.zeros(2, 4, 1, 1).to(memory_format=LAST), LAST),
        (torch.zeros(2, 5, 6, 4).permute(0, 3, 1, 2), LAST),
    ],
)
def test_the_layout_is_that_of_channels(x: torch.Tensor, expected: torch.memory_format) -> None:
    assert layout(x) == expected


def test_new_memory_in_the_layout_is_strided_as_the_map() -> None:
    for map in (MAP, LAST_MAP):
        assert torch.empty(map.shape, memory_format=layout(map)).stride() == map.stride()


def test_a_fused_network_refuses_an_image_without_a_batch_axis() -> None:
    layers = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1)
    images = torch.rand(1, 3, 16, 16)
    fused = vp.fuse(vp.apply(nn.Sequential(*layers).eval(), images, "all"), images)
    with pytest.raises(VirtualPoolError, match=r"not \(4, 8, 8\); give images with a batch axis"):
        fused(images[0])
