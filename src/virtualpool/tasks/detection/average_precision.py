"""Average precision as the development kit of PASCAL VOC computes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torchvision.ops import box_iou

Rule = Literal["all points", "11 points"]
"""Of VOC 2010 and later, and of VOC 2007."""


@dataclass(frozen=True)
class Ranked:
    """The boxes found of one class in all images, the surest first.

    Attributes:
        right: (found,) bool; whether each finding is of an object that nothing surer found.
        image: (found,) int64; the image that it is in.
        objects: (images,) int64; how many objects are to be found in each.
    """

    right: Tensor
    image: Tensor
    objects: Tensor

    def without(self, image: int) -> "Ranked":
        """The same without one image."""
        others = self.image != image
        objects = self.objects.clone()
        objects[image] = 0
        return Ranked(self.right[others], self.image[others], objects)

    def average_precision(self, rule: Rule) -> float | None:
        """The area under precision over recall; `None` where there is no object to be found.

        All points: exact, with each precision raised to the highest at that recall or above.
        11 points: the mean of those raised precisions at recalls of 0, 0.1 to 1.

        >>> found = Ranked(torch.tensor([True, False, True]), torch.zeros(3), torch.tensor([4]))
        >>> found.average_precision("all points"), found.average_precision("11 points")
        (0.4166..., 0.4545...)
        """
        count = int(self.objects.sum())
        if count == 0:
            return None
        right = self.right.double().cumsum(0)
        recall = right / count
        precision = right / torch.arange(1, len(right) + 1)
        highest = precision.flip(0).cummax(0).values.flip(0) if len(right) else precision
        if rule == "all points":
            steps = recall.diff(prepend=recall.new_zeros(1))
            return float((steps * highest).sum())
        # Three of ten objects are a recall of 0.3, which is no float.
        at = torch.searchsorted(recall, torch.linspace(0, 1, 11, dtype=recall.dtype) - 1e-9)
        return float(torch.cat([highest, highest.new_zeros(1)])[at].sum() / 11)


def ranked(
    found: Sequence[dict[str, Tensor]],
    targets: Sequence[dict[str, Tensor]],
    label: int,
    overlap: float = 0.5,
) -> Ranked:
    """Compares the boxes found of one class with the true ones, as VOC's development kit does.

    A finding is compared with the object that it overlaps most. It is right if they overlap enough
    and nothing surer has found the object; if the object is ignored, so is the finding.

    Args:
        found: of each image `boxes`, `scores` and `labels`.
        targets: of each image `boxes`, `labels` and `ignored`.
        label: the class.
        overlap: from which part of their union on two boxes overlap enough.
    """
    scores, right, images, counts = [], [], [], []
    for image, (finding, target) in enumerate(zip(found, targets, strict=True)):
        mine, objects = finding["labels"] == label, target["labels"] == label
        order = finding["scores"][mine].argsort(descending=True, stable=True)
        verdicts = _verdicts(
            box_iou(finding["boxes"][mine][order], target["boxes"][objects]),
            target["ignored"][objects],
            overlap,
        )
        counted = torch.tensor([verdict is not None for verdict in verdicts], dtype=torch.bool)
        scores.append(finding["scores"][mine][order][counted])
        right += [verdict for verdict in verdicts if verdict is not None]
        images += [image] * int(counted.sum())
        counts.append(int((~target["ignored"][objects]).sum()))
    order = torch.cat(scores).argsort(descending=True, stable=True)
    return Ranked(
        torch.tensor(right, dtype=torch.bool)[order],
        torch.tensor(images, dtype=torch.int64)[order],
        torch.tensor(counts),
    )


def _verdicts(overlaps: Tensor, ignored: Tensor, enough: float) -> list[bool | None]:
    """Whether each finding (a row, the surest first) is right; `None` if it does not count."""
    if not overlaps.shape[1]:
        return [False] * len(overlaps)
    taken: set[int] = set()
    verdicts: list[bool | None] = []
    for largest, nearest in zip(*(each.tolist() for each in overlaps.max(1)), strict=True):
        if largest < enough:
            verdicts.append(False)
        elif ignored[nearest]:
            verdicts.append(None)
        else:
            verdicts.append(nearest not in taken)
            taken.add(nearest)
    return verdicts
