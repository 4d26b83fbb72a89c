"""The original's maps at the positions that a model's maps have, at another image scale too."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from virtualpool.graph.image_scale import antialiased, at_scale, transforms_of
from virtualpool.graph.inputs import tensors
from virtualpool.recover.site_maps import SiteMap, maps_of

Size = tuple[int, ...]
Maps = dict[str, list[Tensor]]


class ScaledMaps:
    """The original's maps of sites, at the positions that another model's maps have.

    These are the even ones where that model has reduced maps. It may see the same images at another
    scale, while the original sees whole ones, so its maps have what a smaller image has lost. They
    are averaged down to the sizes that the original has on images at the scale: the sizes
    of the other model's full maps. A detector of torchvision pads its images to a multiple of
    some number, so there the scale counts, not the sizes, and positions beyond it are left out.

    Args:
        original: in eval mode.
        scale: the image scale of the other model.
        sites: where the maps of sites are.
    """

    def __init__(self, original: nn.Module, scale: float, sites: list[SiteMap]) -> None:
        self._original, self._scale, self._sites = original, scale, sites
        self._steps = {site.name: 2 if site.is_pooled else 1 for site in sites}
        self._pads = bool(transforms_of(original))
        self._sizes: dict[tuple[Size, ...], dict[str, list[Size]]] = {}

    def of(self, maps: Maps, images: Any) -> Maps:
        """The original's maps of some images, at the positions that the other model's have."""
        if self._scale != 1 and maps:
            sizes = self._sizes_on(images)
            maps = {
                name: [self.at(*each) for each in zip(found, sizes[name], strict=True)]
                for name, found in maps.items()
            }
        return {
            name: [each[..., :: self._steps[name], :: self._steps[name]] for each in found]
            for name, found in maps.items()
        }

    def at(self, x: Tensor, size: Size) -> Tensor:
        """One map at the size of the other model's."""
        return scaled(x, self._scale, size) if self._pads else averaged(x, size)

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


def scaled(x: Tensor, scale: float, size: Size) -> Tensor:
    """A map at a scale, beginning where it began; of a size at most.

    >>> scaled(torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]]), 0.5, (1, 3))
    tensor([[[[4.]]]])
    """
    if scale * min(x.shape[2:]) < 1:
        return averaged(x, size)
    if scale != 1:
        x = antialiased(x, scale_factor=scale).to(x.dtype)
    return x[..., : size[0], : size[1]]


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
