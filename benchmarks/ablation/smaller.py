"""Smaller images: the unmodified network on images that are resized."""

from torch import Tensor, nn
from torch.nn import functional

from virtualpool.state import copy_of


class OnSmallerImages(nn.Module):
    """A network that sees its images resized.

    Args:
        network: is copied.
        side: what images are resized to, in pixels.
    """

    def __init__(self, network: nn.Module, side: int) -> None:
        super().__init__()
        self.network = copy_of(network)
        self.side = side

    def resized(self, images: Tensor) -> Tensor:
        """Images (N, 3, side, side)."""
        size = (self.side, self.side)
        return functional.interpolate(images, size=size, mode="bilinear", antialias=True)

    def forward(self, images: Tensor) -> Tensor:
        """Gives what the network gives for the resized images."""
        return self.network(self.resized(images))
