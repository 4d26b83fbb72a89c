"""Small networks with the operations of known ones for dense prediction."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, pad
from torchvision.models.segmentation.deeplabv3 import ASPP
from torchvision.models.segmentation.lraspp import LRASPPHead


def block(given: int, made: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    convolution = nn.Conv2d(given, made, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(made), nn.ReLU(inplace=True))


def double_block(given: int, made: int) -> nn.Sequential:
    return nn.Sequential(*block(given, made), *block(made, made))


class UNet(nn.Module):
    """Three scales down by max poolings, and up again.

    Attributes:
        enlarge: makes an enlargement of a map of so many channels.
        pads: whether an enlarged map is padded to the size of the other, as some do.
    """

    def __init__(self, enlarge: Callable[[int], nn.Module], *, pads: bool = False) -> None:
        super().__init__()
        self.first, self.second, self.deepest = (
            double_block(given, made) for given, made in ((3, 4), (4, 6), (6, 8))
        )
        self.third, self.last = double_block(8 + 6, 6), double_block(6 + 4, 4)
        self.enlarge_deepest, self.enlarge_third = enlarge(8), enlarge(6)
        self.head = nn.Conv2d(4, 2, 1)
        self.pads = pads

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        second = self.second(max_pool2d(first, 2))
        deepest = self.deepest(max_pool2d(second, 2))
        third = self.third(self.joined(second, self.enlarge_deepest(deepest)))
        return self.head(self.last(self.joined(first, self.enlarge_third(third))))

    def joined(self, skip: Tensor, x: Tensor) -> Tensor:
        if self.pads:
            rows, columns = skip.size(2) - x.size(2), skip.size(3) - x.size(3)
            sides = columns // 2, columns - columns // 2, rows // 2, rows - rows // 2
            x = pad(x, list(sides))
        return torch.cat([skip, x], 1)


class NestedUNet(nn.Module):
    """U-Net++ of three scales: each node reads all that came before on its scale."""

    def __init__(self) -> None:
        super().__init__()
        self.x00, self.x10, self.x20 = block(3, 4), block(4, 6), block(6, 8)
        self.x01, self.x11 = block(4 + 6, 4), block(6 + 8, 6)
        self.x02 = block(4 + 4 + 6, 4)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x00 = self.x00(x)
        x10 = self.x10(max_pool2d(x00, 2))
        x20 = self.x20(max_pool2d(x10, 2))
        x01 = self.x01(torch.cat([interpolate(x10, scale_factor=2), x00], 1))
        x11 = self.x11(torch.cat([interpolate(x20, scale_factor=2), x10], 1))
        return self.head(self.x02(torch.cat([interpolate(x11, scale_factor=2), x00, x01], 1)))


class Linknet(nn.Module):
    """Blocks of a convolution, an enlargement and a convolution, added to the way down's maps."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = block(3, 4), block(4, 6, 2), block(6, 8, 2)
        self.up, self.up_again = self.decoder(8, 6), self.decoder(6, 4)
        self.head = nn.Conv2d(4, 2, 1)

    @staticmethod
    def decoder(given: int, made: int) -> nn.Sequential:
        enlarge = nn.ConvTranspose2d(2, 2, 4, 2, 1), nn.BatchNorm2d(2), nn.ReLU(inplace=True)
        return nn.Sequential(*block(given, 2, kernel=1), *enlarge, *block(2, made, kernel=1))

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        second = self.second(first)
        return self.head(self.up_again(self.up(self.third(second)) + second) + first)


class FPN(nn.Module):
    """A pyramid of sums of enlarged maps and of maps of 1x1, with a 3x3 on each scale, added up."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([block(3, 4), block(4, 6, 2), block(6, 8, 2)])
        self.lateral = nn.ModuleList(nn.Conv2d(channels, 4, 1) for channels in (4, 6, 8))
        self.smooth = nn.ModuleList(block(4, 4) for _ in range(3))
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps = []
        for stage, lateral in zip(self.stages, self.lateral, strict=True):
            x = stage(x)
            maps.append(lateral(x))
        pyramid = [maps[-1]]
        for map in maps[-2::-1]:
            pyramid.append(map + interpolate(pyramid[-1], scale_factor=2.0, mode="nearest"))
        levels = [smooth(map) for smooth, map in zip(self.smooth, pyramid, strict=True)]
        size = levels[-1].shape[-2:]
        return self.head(sum(interpolate(map, size=size, mode="bilinear") for map in levels))


class Head(nn.Module):
    """A trunk of four scales' stride, a head of torchvision's, and the enlargement to the image."""

    def __init__(self, head: nn.Module, *, two_maps: bool = False) -> None:
        super().__init__()
        self.low, self.high = nn.Sequential(block(3, 4, 2), block(4, 4)), block(4, 8, 2)
        self.head, self.two_maps = head, two_maps

    def forward(self, x: Tensor) -> Any:
        low = self.low(x)
        high = self.high(low)
        made = self.head({"low": low, "high": high} if self.two_maps else high)
        return {"out": interpolate(made, size=x.shape[-2:], mode="bilinear", align_corners=False)}


class Exchange(nn.Module):
    """HRNet's: maps of two scales, each added to the other at its size, activated."""

    def __init__(self) -> None:
        super().__init__()
        self.large, self.small = block(3, 4), block(4, 6, 2)
        self.up = nn.Sequential(nn.Conv2d(6, 4, 1), nn.BatchNorm2d(4), nn.Upsample(scale_factor=2))
        self.down = nn.Sequential(nn.Conv2d(4, 6, 3, 2, 1), nn.BatchNorm2d(6))
        self.last, self.last_small = block(4, 4), block(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        large = self.large(x)
        small = self.small(large)
        one, other = (large + self.up(small)).relu(), (small + self.down(large)).relu()
        last = interpolate(self.last_small(other), size=one.shape[2:], mode="bilinear")
        return torch.cat([self.last(one), last], 1)


def _bilinear(channels: int) -> nn.Module:
    return nn.Upsample(scale_factor=2, mode="bilinear")


DENSE: dict[str, Callable[[], nn.Module]] = {
    "U-Net, bilinear": lambda: UNet(_bilinear),
    "U-Net, nearest": lambda: UNet(lambda _: nn.Upsample(scale_factor=2)),
    "U-Net, transposed": lambda: UNet(lambda it: nn.ConvTranspose2d(it, it // 2 * 2, 2, 2)),
    "U-Net, bilinear and convolution": lambda: UNet(
        lambda it: nn.Sequential(_bilinear(it), *block(it, it))
    ),
    "U-Net, shuffled": lambda: UNet(
        lambda it: nn.Sequential(nn.Conv2d(it, 4 * it, 1), nn.PixelShuffle(2))
    ),
    "U-Net, aligned and padded": lambda: UNet(
        lambda _: nn.UpsamplingBilinear2d(scale_factor=2), pads=True
    ),
    "U-Net++": NestedUNet,
    "Linknet": Linknet,
    "FPN": FPN,
    "DeepLabV3": lambda: Head(nn.Sequential(ASPP(8, [2, 4], 6), block(6, 6), nn.Conv2d(6, 2, 1))),
    "LR-ASPP": lambda: Head(LRASPPHead(4, 8, 2, 6), two_maps=True),
    "HRNet": Exchange,
}


def dense(name: str) -> nn.Module:
    """A network in eval mode, in float64, whose batch norms have seen maps of its own."""
    torch.manual_seed(0)
    made = DENSE[name]()
    with torch.no_grad():
        made.train()(torch.rand(4, 3, 32, 32))
    return made.double().eval()
