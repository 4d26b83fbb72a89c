"""Distances between a pooled model's maps and the original's."""

import torch
from torch import Tensor


def relative_square(changed: Tensor, original: Tensor) -> Tensor:
    """The squared distance of two tensors as a part of the original's squared length.

    >>> relative_square(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 4.0]))
    tensor(0.1000)
    """
    original = original.float()
    return (changed.float() - original).square().sum() / original.square().sum().clamp_min(1e-12)


def mean_relative_square(changed: list[Tensor], original: list[Tensor]) -> Tensor:
    """The mean over pairs of tensors.

    >>> one, two = torch.ones(3), torch.full((3,), 2.0)
    >>> mean_relative_square([one, one], [one, two])
    tensor(0.1250)
    """
    pairs = zip(changed, original, strict=True)
    return torch.stack([relative_square(*pair) for pair in pairs]).mean()


def distance_of_sites(
    reduced: dict[str, list[Tensor]], full: dict[str, list[Tensor]]
) -> Tensor | float:
    """How far sites' maps are from the original's at the same positions: the mean over the sites.

    Args:
        reduced: for each site its reduced maps, one a call: (N, C, ceil(H/2), ceil(W/2)). A site
            that is not pooled has full maps: (N, C, H, W).
        full: the original's maps of the same calls: (N, C, H, W).

    >>> distance_of_sites({"0": [torch.ones(1, 1, 2, 2)]}, {"0": [torch.full((1, 1, 4, 4), 2.0)]})
    tensor(0.2500)
    """
    distances = [
        mean_relative_square(reduced[name], list(map(_where_given, maps, reduced[name])))
        for name, maps in full.items()
    ]
    return torch.stack(distances).mean() if distances else 0.0


def _where_given(full: Tensor, given: Tensor) -> Tensor:
    """A full map, or its even positions for a reduced one."""
    return full if full.shape[2:] == given.shape[2:] else full[..., ::2, ::2]
