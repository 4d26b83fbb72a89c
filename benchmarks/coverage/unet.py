"""A small U-Net, for images whose sides are multiples of four."""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d


class UNet(nn.Module):
    """Two steps down and up again: (N, 3, H, W) to (N, 2, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.deepest = _block(3, 16), _block(16, 32), _block(32, 64)
        self.third, self.last = _block(64 + 32, 32), _block(32 + 16, 16)
        self.head = nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        first = self.first(x)
        second = self.second(max_pool2d(first, 2))
        deepest = self.deepest(max_pool2d(second, 2))
        third = self.third(torch.cat([_double(deepest), second], 1))
        return self.head(self.last(torch.cat([_double(third), first], 1)))


def _double(x: Tensor) -> Tensor:
    return interpolate(x, scale_factor=2, mode="bilinear")


def _block(channels: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs in (channels, outputs):
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)
