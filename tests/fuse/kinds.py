"""Small networks with the operations of known ones, a block of each kind."""

from collections.abc import Callable

import torch
from torch import nn
from torchvision.models import EfficientNet, MobileNetV2, ResNet
from torchvision.models.efficientnet import MBConvConfig
from torchvision.models.resnet import Bottleneck


def vgg() -> nn.Module:
    """Convolutions and max poolings alone, as VGG-16."""
    layers: list[nn.Module] = []
    channels = 3
    for width in (8, 8, 0, 12, 12, 0, 12, 12):
        if not width:
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5))


def resnet() -> nn.Module:
    """A bottleneck of each stage of ResNet-50, narrow."""
    return ResNet(Bottleneck, [1, 1, 1, 1], num_classes=5, width_per_group=4)


def mobilenet() -> nn.Module:
    """MobileNetV2 with three blocks."""
    setting = [[1, 8, 1, 1], [2, 12, 2, 2]]
    return MobileNetV2(num_classes=5, inverted_residual_setting=setting, width_mult=0.5)


def efficientnet() -> nn.Module:
    """EfficientNet-B0's blocks, with their gates: kernels of 3 and of 5."""
    setting = [
        MBConvConfig(1, 3, 1, 8, 8, 1),
        MBConvConfig(2, 3, 2, 8, 12, 1),
        MBConvConfig(2, 5, 1, 12, 12, 1),
    ]
    return EfficientNet(setting, dropout=0.0, num_classes=5, last_channel=32)


class _Convolution(nn.Sequential):
    """A convolution of YOLO with its norm and activation."""

    def __init__(self, given: int, made: int, kernel: int = 1, stride: int = 1) -> None:
        convolution = nn.Conv2d(given, made, kernel, stride, kernel // 2, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(made), nn.SiLU(inplace=True))


class _Split(nn.Module):
    """Half of the channels go through a residual block; all are joined (C2f of YOLOv8)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.first, self.last = _Convolution(channels, channels), _Convolution(3 * half, channels)
        self.inner = nn.Sequential(_Convolution(half, half, 3), _Convolution(half, half, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, other = self.first(x).chunk(2, 1)
        return self.last(torch.cat([one, other, other + self.inner(other)], 1))


class Detector(nn.Module):
    """The trunk of YOLOv8n, and its heads on two scales."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_Convolution(3, 8, 3, 2), _Convolution(8, 8, 3, 2), _Split(8))
        self.deep = nn.Sequential(_Convolution(8, 16, 3, 2), _Split(16))
        self.heads = nn.ModuleList([nn.Conv2d(8, 6, 1), nn.Conv2d(16, 6, 1)])

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        shallow = self.stem(x)
        return self.heads[0](shallow), self.heads[1](self.deep(shallow))


KINDS: dict[str, Callable[[], nn.Module]] = {
    "VGG-16": vgg,
    "ResNet-50": resnet,
    "MobileNetV2": mobilenet,
    "EfficientNet-B0": efficientnet,
    "YOLOv8n": Detector,
}


def network(name: str) -> nn.Module:
    """A network in eval mode, whose batch norms have seen maps of its own."""
    torch.manual_seed(0)
    made = KINDS[name]()
    with torch.no_grad():
        made.train()(torch.rand(8, 3, 64, 64))
    return made.eval()
