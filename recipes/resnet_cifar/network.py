"""ResNet-20 and ResNet-56 for CIFAR-10 (He et al., 2015, section 4.2), with shortcuts of option A.

Functions without arguments, so the command takes them: `recipes/resnet_cifar/network.py:resnet20`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the colours, as the published weights want them."""


class Block(nn.Module):
    """Two convolutions and a shortcut without parameters.

    A shortcut to fewer positions and more channels takes every second position, and zeros.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.zeros = (outputs - inputs) // 2
        self.is_identity = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if not self.is_identity:
            x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.zeros, self.zeros))
        return functional.relu(out + x)


class ResNet(nn.Module):
    """A ResNet of three stages with 16, 32 and 64 channels.

    Takes (N, 3, 32, 32) images, normalised by `MEAN` and `STD`, and gives (N, 10) logits.

    Args:
        blocks: of a stage; the network has 6 times as many layers, and two more.
    """

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(blocks, 16, 16, 1)
        self.layer2 = _stage(blocks, 16, 32, 2)
        self.layer3 = _stage(blocks, 32, 64, 2)
        self.linear = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, 32, 32) normalised images to (N, 10) logits."""
        x = functional.relu(self.bn1(self.conv1(images)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(torch.mean(x, (2, 3)))


def resnet20() -> ResNet:
    """20 layers, 41 million multiply-accumulates."""
    return ResNet(3)


def resnet56() -> ResNet:
    """56 layers, 126 million multiply-accumulates."""
    return ResNet(9)


def _stage(blocks: int, inputs: int, outputs: int, stride: int) -> nn.Sequential:
    first = Block(inputs, outputs, stride)
    return nn.Sequential(first, *(Block(outputs, outputs, 1) for _ in range(blocks - 1)))
