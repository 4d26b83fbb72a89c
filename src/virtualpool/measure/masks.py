"""Masks, with the number of a class at each pixel, compared."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

IGNORED = 255
"""The number of pixels without a class, as VOC and torchvision have it."""


def confusion(found: Tensor, true: Tensor, classes: int, ignored: int) -> Tensor:
    """How many pixels of each true class are found to be of each class.

    Args:
        found: (N, H, W) int64.
        true: (N, H, W) int64; pixels with the number `ignored` do not count.
        classes: how many there are.
        ignored: as it says.

    Returns:
        (N, classes, classes) int64; the true class comes first.

    >>> confusion(torch.tensor([[[0, 1, 1]]]), torch.tensor([[[0, 0, 9]]]), 2, 9).tolist()
    [[[1, 1], [0, 0]]]
    """
    counted = true != ignored
    image = torch.arange(len(true), device=true.device).view(-1, 1, 1).expand_as(true)
    place = (image * classes + true) * classes + found
    counts = torch.bincount(place[counted], minlength=len(true) * classes**2)
    return counts.view(len(true), classes, classes)


def unions(matrix: Tensor) -> Tensor:
    """The intersection over union of each class, of a matrix (..., classes, classes) of counts.

    A class that has no pixel is not a number.
    """
    matrix = matrix.double()
    hits = matrix.diagonal(dim1=-2, dim2=-1)
    return hits / (matrix.sum(-1) + matrix.sum(-2) - hits)


def at_size(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Logits (N, classes, h, w) at the size of masks: as they are, or in float32 and bilinear."""
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return functional.interpolate(logits.float(), size=tuple(size), mode="bilinear")
