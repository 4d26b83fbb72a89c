"""Pooling removal: an early convolution strides in place of a later one (paper, section 1).

All layers between work on smaller maps, as between sites that are pooled, and the layers behind the
later convolution is as it was. Virtual pooling at the earlier convolution and all between it and
the later one has the same multiply-accumulates, so the two are compared in pairs.
"""

from dataclasses import dataclass

from torch import nn

from virtualpool.graph.geometry import double_stride
from virtualpool.graph.state import copy_of


@dataclass(frozen=True)
class Removal:
    """A stride moved from `convs.<later>` to `convs.<early>` of All-CNN-C."""

    early: int
    later: int

    @property
    def sites(self) -> list[str]:
        """The sites that, pooled, leave as much work."""
        return [f"convs.{index}" for index in range(self.early, self.later)]

    def __call__(self, network: nn.Module) -> nn.Module:
        """A copy of a network with the stride moved."""
        moved = copy_of(network)
        early, later = (moved.get_submodule(f"convs.{each}") for each in (self.early, self.later))
        assert isinstance(early, nn.Conv2d)
        assert isinstance(later, nn.Conv2d)
        double_stride(early)
        later.stride = tuple(step // 2 for step in later.stride)
        return moved


REMOVALS = [Removal(1, 2), Removal(3, 5), Removal(0, 5)]
