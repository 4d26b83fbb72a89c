"""The original's maps at the sizes that they have at another image scale."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from virtualpool.graph.image_scale import at_scale
from virtualpool.graph.inputs import tensors
from virtualpool.recover.site_maps import SiteMap, maps_of

Size = tuple[int, ...]
Maps = dict[str, list[Tensor]]


class ScaledMaps:
    """The original's maps of sites, for a model that sees the same images at another scale.

    The original sees whole images, so its maps have what a smaller image has lost. They are
    averaged down to the sizes that the original has on images at the scale, which are
    those of the other model's full maps.

    Args:
        original: in eval mode.
        scale: the image scale of the other model.
        sites: where the maps of sites are.
    """

    def __init__(self, original: nn.Module, scale: float, sites: list[SiteMap]) -> None:
        self._original, self._scale, self._sites = original, scale, sites
        self._sizes: dict[tuple[Size, ...], dict[str, list[Size]]] = {}

    def of(self, maps: Maps, images: Any) -> Maps:
        """The original's maps of some images, at the sizes that go with the scale."""
        if self._scale == 1 or not maps:
            return maps
        sizes = self._sizes_on(images)
        return {
            name: [averaged(*each) for each in zip(found, sizes[name], strict=True)]
            for name, found in maps.items()
        }

    def _sizes_on(self, images: Any) -> dict[str, list[Size]]:
        """The sizes of maps at the scale, of each site and call, as one forward shows them."""
        some = images[:1] if isinstance(images, Tensor) else images
        shapes = tuple(tuple(image.shape) for image in tensors(some))
        if shapes not in self._sizes:
            with (
                torch.no_grad(),
                at_scale(self._original, self._scale),
                maps_of(self._original, self._sites) as found,
            ):
                self._original(some)
            self._sizes[shapes] = {
                name: [tuple(each.shape[2:]) for each in its] for name, its in found.items()
            }
        return self._sizes[shapes]


def averaged(x: Tensor, size: Size) -> Tensor:
    """A map at another size: the means of areas where it is smaller, bilinear where it is larger.

    >>> averaged(torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]]), (1, 1))
    tensor([[[[4.]]]])
    """
    given = tuple(x.shape[2:])
    if given == tuple(size):
        return x
    if all(new <= old for new, old in zip(size, given, strict=True)):
        return functional.interpolate(x, list(size), mode="area")
    return functional.interpolate(x, list(size), mode="bilinear", align_corners=False)
