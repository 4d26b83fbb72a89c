"""Hand-written channel shuffles are named as such; operations that only look like one are not."""

from collections.abc import Callable

import pytest
import torch
from tests.fuse.checks import fused_alike, images, pooled_and_fused
from torch import Tensor, nn
from torch.nn import functional


def split(x: Tensor, groups: int) -> Tensor:
    batch, channels, height, width = x.shape
    return x.view(batch, groups, channels // groups, height, width)


Shuffle = Callable[[Tensor], Tensor]
SHUFFLES: dict[str, Shuffle] = {
    "as in ShuffleNet": lambda x: (
        split(x, 2).transpose(1, 2).contiguous().view(x.shape[0], -1, x.shape[2], x.shape[3])
    ),
    "three groups": lambda x: split(x, 3).transpose(2, 1).reshape(x.shape),
    "functions": lambda x: torch.reshape(torch.transpose(split(x, 2), 1, 2), x.size()),
    "swapped": lambda x: split(x, 2).swapaxes(1, 2).flatten(1, 2),
}
OTHERS: dict[str, Shuffle] = {
    "rows for channels": lambda x: (
        x.view(x.shape[0], 2, 3, x.shape[2], x.shape[3]).transpose(1, 3).reshape(x.shape)
    ),
    "not put back": lambda x: split(x, 2).transpose(1, 2).reshape(x.shape[0], 3, -1, x.shape[3]),
    "not transposed": lambda x: split(x, 2).reshape(x.shape),
    "permuted": lambda x: split(x, 2).permute(0, 2, 1, 4, 3).reshape(x.shape),
    "images for groups": lambda x: (
        x.reshape(2, -1, 6, x.shape[2], x.shape[3]).transpose(0, 1).reshape(x.shape)
    ),
}


def net(shuffle: Shuffle) -> nn.Module:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.site, self.reads = nn.Conv2d(3, 6, 3, padding=1), nn.LazyConv2d(4, 3, 2, 1)

        def forward(self, x):
            return self.reads(shuffle(self.site(x).relu()))

    torch.manual_seed(0)
    model = Net().double().eval()
    model(images())
    return model


@pytest.mark.parametrize("shuffle", SHUFFLES.values(), ids=SHUFFLES)
def test_shuffles(shuffle):
    others = [images(9, 9, batch=1), images(8, 15).to(memory_format=torch.channels_last)]
    report = fused_alike(net(shuffle), images(), ["site"], others=others)
    assert report.fused == (() if shuffle is SHUFFLES["swapped"] else ("site",))


@pytest.mark.parametrize("shuffle", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("size", [(12, 13), (6, 6), (2, 3)])
def test_what_is_none(shuffle, size):
    model = net(shuffle)
    report = fused_alike(model, images(*size), ["site"], others=[images(12, 12)])
    assert report.fused == ()


def test_nothing_is_left_of_it():
    _, fused, _ = pooled_and_fused(net(SHUFFLES["as in ShuffleNet"]), images(), ["site"])
    names = fused.evaluation.names.values()
    assert functional.channel_shuffle in names or "channel_shuffle" in fused.evaluation.source
    assert "transpose" not in fused.evaluation.source
    assert "view" not in fused.evaluation.source
