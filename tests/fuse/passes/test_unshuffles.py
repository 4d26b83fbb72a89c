"""Convolutions of unshuffled pixels read the reduced map of the map before."""

from typing import Any

import pytest
from tests.fuse.checks import fused_alike, images
from torch import nn
from torch.nn import functional

UNSHUFFLED: dict[str, tuple[Any, dict[str, Any], bool]] = {
    "by two": (nn.PixelUnshuffle(2), {}, True),
    "a function": (lambda x: functional.pixel_unshuffle(x, 2), {"bias": False}, True),
    "with a stride": (nn.PixelUnshuffle(2), {"stride": 2}, True),
    "by four": (nn.PixelUnshuffle(4), {"padding": 0}, True),
    "by a kernel of one": (nn.PixelUnshuffle(2), {"kernel_size": 1, "padding": 0}, True),
    "by three": (nn.PixelUnshuffle(3), {}, False),
    "in groups": (nn.PixelUnshuffle(2), {"groups": 2}, False),
    "dilated": (nn.PixelUnshuffle(2), {"dilation": 2}, False),
    "activated": (nn.Sequential(nn.PixelUnshuffle(2), nn.Tanh()), {}, False),
}


@pytest.mark.parametrize("name", UNSHUFFLED)
def test_of_a_recovered_map(name, monkeypatch):
    unshuffle, options, is_fused = UNSHUFFLED[name]
    factor = 3 if name == "by three" else 4 if name == "by four" else 2

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.site, self.unshuffle = nn.Conv2d(3, 2, 3, padding=1), unshuffle
            usual: dict[str, Any] = {"kernel_size": 3, "padding": 1}
            self.reads = nn.Conv2d(2 * factor**2, 4, **(usual | options))

        def forward(self, x):
            return self.reads(self.unshuffle(self.site(x).tanh())).relu()

    # Of two ways the one with the reduced map is timed as the faster one.
    from virtualpool.fuse.choice import ways

    monkeypatch.setattr(ways, "costs", lambda *_: {"full": 2.0, "mended": 1.0, "transposed": 3.0})
    model, size = Net().double().eval(), 12 * factor
    others = [images(8 * factor, 9 * factor)]
    report = fused_alike(model, images(size, size), ["site"], others=others)
    assert report.fused == (("site",) if is_fused else ())
    fused_alike(model, images(size, size), others=others)
