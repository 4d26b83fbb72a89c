"""Boxes of detectors: those that are sure enough, and those that two have alike."""

import torch
from torch import Tensor
from torchvision.ops import box_iou

Found = dict[str, Tensor]
"""A detector's findings in an image, or the true ones: boxes, labels, and more."""


def as_sure_as(score: float, found: Found) -> Found:
    """The findings with a score of at least so much.

    >>> as_sure_as(0.5, {"boxes": torch.zeros(2, 4), "scores": torch.tensor([0.9, 0.4])})
    {'boxes': tensor([[0., 0., 0., 0.]]), 'scores': tensor([0.9000])}
    """
    kept = found["scores"] >= score
    return {name: values[kept] for name, values in found.items()}


def shared(one: Found, other: Found, overlap: float = 0.5) -> tuple[Tensor, Tensor]:
    """Which boxes two models agree on: of one class, each nearest to the other, and near enough.

    >>> labels, square = torch.tensor([1]), torch.tensor([[0.0, 0, 10, 10]])
    >>> both = torch.tensor([[0.0, 0, 10, 8], [20.0, 0, 30, 10]])
    >>> shared({"boxes": square, "labels": labels}, {"boxes": both, "labels": torch.tensor([1, 1])})
    (tensor([True]), tensor([ True, False]))

    Args:
        one: `boxes`, (N, 4), and `labels`, (N,).
        other: the same with M in place of N.
        overlap: from which part of their union on two boxes are near enough.

    Returns:
        (N,) and (M,) bool, with as many true in both.
    """
    overlaps = box_iou(one["boxes"], other["boxes"])
    overlaps = overlaps * (one["labels"][:, None] == other["labels"])
    mine, its = (torch.zeros(count, dtype=torch.bool) for count in overlaps.shape)
    if overlaps.numel():
        nearest, back = overlaps.argmax(1), overlaps.argmax(0)
        mine = (back[nearest] == torch.arange(len(mine))) & (overlaps.amax(1) >= overlap)
        its[nearest[mine]] = True
    return mine, its
