"""A U-Net on VGG-16's trunk, for segmentation: built of plain parts."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.models.vgg import make_layers

from virtualpool.models.vgg16_trunk import load_trunk

_POOLINGS = (4, 9, 16, 23)
"""The layers of torchvision's VGG-16 with which another scale begins."""
_CONFIGURATION: list[str | int] = [
    64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M",
]  # fmt: skip
"""Of `make_layers`: the outputs of a convolution, or a pooling; the last one is left out."""
_WIDTHS = (64, 128, 256, 512, 512)


class UNetVGG16(nn.Module):
    """Five scales down, by VGG-16's thirteen convolutions, and up again by two on each scale.

    An enlarged map and the map of the way down on its scale are joined by their channels.

    >>> UNetVGG16(11, widths=(8, 8, 8, 8))(torch.zeros(1, 3, 64, 96)).shape
    torch.Size([1, 11, 64, 96])
    """

    def __init__(self, classes: int, widths: tuple[int, ...] = (256, 128, 64, 32)) -> None:
        super().__init__()
        self.features = make_layers(_CONFIGURATION)[:-1]
        for layer in self.features:
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)
        given, blocks = _WIDTHS[-1], []
        for skip, width in zip(_WIDTHS[-2::-1], widths, strict=True):
            blocks.append(_block(given + skip, width))
            given = width
        self.decoder = nn.ModuleList(blocks)
        self.head = nn.Conv2d(given, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) normalised images, of any size from 16 on, to (N, classes, H, W) logits."""
        skips, x = [], images
        for place, layer in enumerate(self.features):
            if place in _POOLINGS:
                skips.append(x)
            x = layer(x)
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            x = interpolate(x, size=skip.shape[2:], mode="bilinear", align_corners=False)
            x = block(torch.cat([x, skip], 1))
        return self.head(x)


def unet_vgg16(classes: int = 11, *, trunk: Path | str | None = None, **options: Any) -> UNetVGG16:
    """A U-Net (Ronneberger et al., 2015) with VGG-16's trunk, for images with a class a pixel.

    Its sites are the trunk's convolutions, `features.0` to `features.28`, and two of each block of
    the decoder, `decoder.0.0` to `decoder.3.3`. As the paper's networks it has no sum.

    Args:
        classes: how many classes the pixels have; CamVid has 11.
        trunk: a safetensors file with `features.N.weight` and `features.N.bias` for the trunk, as
            torchvision's `vgg16` names them; without it the trunk begins at random.
        options: options of `UNetVGG16`: the `widths` of the decoder, the deepest first.

    Raises:
        VirtualPoolError: the file cannot be read, or holds other weights than the trunk's.

    >>> sum(each.numel() for each in unet_vgg16().parameters()) // 1_000_000
    18
    """
    model = UNetVGG16(classes, **options)
    if trunk is not None:
        load_trunk(model.features, Path(trunk))
    return model


def _block(given: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (given, width):
        convolution = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
