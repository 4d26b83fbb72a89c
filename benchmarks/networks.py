"""Networks of torchvision with random weights, alive as trained ones are, and images for them."""

import torch
from torch import Tensor, nn
from zoo import build

from virtualpool.search import by_recalibration

_SEED = 0
_IMAGES = 4


def network(name: str, side: int) -> nn.Module:
    """A network in eval mode whose weights are random, the same in every process.

    Args:
        name: its name in torchvision, or that of a submodule after a dot: `vgg16.features`.
        side: of the square images that it will see, in pixels.
    """
    torch.manual_seed(_SEED)
    whole, _, submodule = name.partition(".")
    model = build(whole).get_submodule(submodule).eval()
    if any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        # Where statistics are not those of the maps, values grow or vanish with depth: outputs then
        # say nothing, and denormal numbers take a time of their own.
        with torch.no_grad():
            by_recalibration([images(_IMAGES, side)])(model)
    return model


def images(batch: int, side: int) -> Tensor:
    """Random images, the same in every process: shape (batch, 3, side, side), float32."""
    generator = torch.Generator().manual_seed(_SEED)
    return torch.randn(batch, 3, side, side, generator=generator)
