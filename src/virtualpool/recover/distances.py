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
    """The mean over pairs of tensors; of a map (N, C, H, W) as far as the original's goes.

    >>> one, two = torch.ones(3), torch.full((3,), 2.0)
    >>> mean_relative_square([one, one], [one, two])
    tensor(0.1250)
    """
    pairs = zip(changed, original, strict=True)
    return torch.stack([relative_square(_within(*pair), pair[1]) for pair in pairs]).mean()


def distance_of_sites(
    given: dict[str, list[Tensor]], expected: dict[str, list[Tensor]]
) -> Tensor | float:
    """How far sites' maps are from the original's at the same positions: the mean over the sites.

    Args:
        given: for each site its maps, one a call: (N, C, H, W).
        expected: the original's maps of the same calls.

    >>> distance_of_sites({"0": [torch.ones(1, 1, 2, 2)]}, {"0": [torch.full((1, 1, 2, 2), 2.0)]})
    tensor(0.2500)
    """
    distances = [mean_relative_square(given[name], maps) for name, maps in expected.items()]
    return torch.stack(distances).mean() if distances else 0.0


def _within(given: Tensor, expected: Tensor) -> Tensor:
    if given.ndim != 4 or given.shape == expected.shape:
        return given
    return given[..., : expected.shape[2], : expected.shape[3]]
