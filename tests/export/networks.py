"""Tiny networks to export, and what is compared."""

from types import SimpleNamespace

import torch
from torch import Tensor, nn

import virtualpool as vp

IMAGES = torch.rand(1, 3, 20, 22, generator=torch.Generator().manual_seed(0))


def tiny() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 4),
    ).eval()


def fused() -> nn.Module:
    return vp.fuse(vp.apply(tiny(), IMAGES), IMAGES)


class Branching(nn.Module):
    """Two inputs, by name, and two outputs, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 3)

    def forward(self, images: Tensor, offset: Tensor) -> dict[str, Tensor]:
        map = self.layer(images) + offset
        return {"map": map, "largest": map.flatten(1).argmax(1)}


class Deciding(nn.Module):
    """Decides by values, which no exporter follows."""

    def forward(self, images: Tensor) -> Tensor:
        return images if float(images.sum()) > 0 else -images


class OwnOutputs(nn.Module):
    """Gives an object of a class that PyTorch cannot take apart."""

    def forward(self, x: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=x)


class NotFinite(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images / (images - images)


class Counting(nn.Module):
    """Gives no tensor."""

    def forward(self, images: Tensor) -> int:
        return len(images.shape)


class Detecting(nn.Module):
    """A list of images in, a dict for each out, with as many boxes as values say."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        found = []
        for image in images:
            boxes = self.layer(image.unsqueeze(0)).flatten(2)[0].T
            kept = boxes[boxes[:, 0] > 0]
            found.append({"boxes": kept, "labels": kept.argmax(1)})
        return found
