"""The boundary F-score: how near a found mask's outlines are to the true one's.

As of Csurka et al. (2013): of the pixels on the outline of a found class the share that lies within
a tolerance of the true outline is the precision, of those on the true one that lies near the found
outline the recall; the score is their harmonic mean. The tolerance is 0.75 % of the diagonal.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

TOLERANCE = 0.0075
"""As a part of the image's diagonal."""


def boundary_counts(found: Tensor, true: Tensor, classes: int, ignored: int) -> Tensor:
    """How many pixels are on outlines, and how many of them near the other mask's.

    Args:
        found: (N, H, W) int64, a class at each pixel.
        true: (N, H, W) int64, a class or `ignored` at each pixel; an outline is where two classes
            meet, so there is none where ignored pixels begin, nor at the edge of the image.
        classes: how many there are.
        ignored: the number of pixels that do not count, in either mask.

    Returns:
        (N, classes, 4) int64: found near the true, found, true near the found, true.

    >>> true = torch.tensor([[[0, 0, 0, 1, 1, 1]]])
    >>> boundary_counts(true, true, 2, 255).tolist()
    [[[1, 1, 1, 1], [1, 1, 1, 1]]]
    """
    counted = true != ignored
    outlines = [_outlines(mask.where(counted, ignored), classes, ignored) for mask in (found, true)]
    radius = TOLERANCE * math.hypot(*true.shape[-2:])
    near = [_widened(outline, radius) for outline in outlines]
    (one, other), (near_one, near_other) = outlines, near
    kinds = [one & near_other, one, other & near_one, other]
    return torch.stack([kind.sum((-2, -1)) for kind in kinds], -1)


def boundary_score(counts: Tensor) -> float:
    """The mean over the classes of their F-scores, of counts (classes, 4) of all images together.

    A class without an outline in the true masks does not count.

    >>> boundary_score(torch.tensor([[1, 2, 1, 1], [0, 0, 0, 2], [0, 5, 0, 0]]))
    0.3333333333333333
    """
    scores = []
    for near_true, found, near_found, true in counts.tolist():
        if not true:
            continue
        precision, recall = near_true / found if found else 0.0, near_found / true
        both = precision + recall
        scores.append(2 * precision * recall / both if both else 0.0)
    return sum(scores) / len(scores) if scores else 0.0


def _outlines(mask: Tensor, classes: int, ignored: int) -> Tensor:
    """(N, classes, H, W) bool: the pixels of a class beside one of another class."""
    meets = torch.zeros_like(mask, dtype=torch.bool)
    for axis in (-2, -1):
        length = mask.shape[axis] - 1
        one, other = mask.narrow(axis, 0, length), mask.narrow(axis, 1, length)
        differs = (one != other) & (one != ignored) & (other != ignored)
        meets.narrow(axis, 0, length).logical_or_(differs)
        meets.narrow(axis, 1, length).logical_or_(differs)
    each = torch.arange(classes, device=mask.device).view(1, -1, 1, 1)
    return (mask.unsqueeze(1) == each) & meets.unsqueeze(1)


def _widened(outlines: Tensor, radius: float) -> Tensor:
    """All pixels within a distance of an outline's: a disc around each of them."""
    pixels, reach = outlines.to(torch.float32), int(radius)
    height = pixels.shape[-2]
    widened = torch.zeros_like(pixels)
    for rows in range(reach + 1):
        columns = int(math.sqrt(radius**2 - rows**2))
        line = functional.max_pool2d(pixels, (1, 2 * columns + 1), 1, (0, columns))
        for shift in {rows, -rows}:
            if abs(shift) < height:
                kept = height - abs(shift)
                onto = widened.narrow(-2, max(shift, 0), kept)
                torch.maximum(onto, line.narrow(-2, max(-shift, 0), kept), out=onto)
    return widened > 0
