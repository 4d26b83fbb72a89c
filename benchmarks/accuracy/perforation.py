"""2x2 perforation: a convolution at even positions, and the nearest of them everywhere else.

After "PerforatedCNNs: Acceleration through Elimination of Redundant Convolutions" by Figurnov,
Ibraimova, Vetrov and Kohli, with a regular grid, made of operations that every runtime has.
"""

import copy

from torch import Tensor, nn
from torch.nn import functional

import virtualpool as vp
from virtualpool.graph.geometry import double_stride, size_arguments
from virtualpool.operator.pool import output_size


def perforated(network: nn.Module, images: Tensor) -> nn.Module:
    """A copy of a network that is perforated at every site where it could be pooled."""
    model = copy.deepcopy(network)
    for site in vp.sites(network, images):
        if site.eligible:
            owner, _, name = site.name.rpartition(".")
            parent = model.get_submodule(owner)
            setattr(parent, name, Perforated(parent.get_submodule(name)))
    return model


class Perforated(nn.Module):
    """A convolution that is computed at every second row and column.

    Args:
        convolution: becomes part of this, with its stride doubled.
    """

    def __init__(self, convolution: nn.Module) -> None:
        super().__init__()
        assert isinstance(convolution, nn.Conv2d)
        self.size_arguments = size_arguments(convolution)
        self.convolution = convolution
        double_stride(convolution)

    def forward(self, x: Tensor) -> Tensor:
        """Gives a map of the shape that the convolution would give."""
        height, width = output_size(x, *self.size_arguments)
        full = functional.interpolate(self.convolution(x), scale_factor=2.0, mode="nearest")
        return full[..., :height, :width]
