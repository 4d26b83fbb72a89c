"""The objects of an image, without the boxes that no detector can learn or be judged by."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from virtualpool.words import count

Size = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True)
class Objects:
    """The objects that are marked in one image.

    Coordinates are torchvision's for detectors: pixels from the image's left upper corner, to
    the right and lower edge of the last pixel, so that a box over a whole image is (0, 0, W, H).

    Attributes:
        path: the image.
        boxes: (objects, 4) float32; x and y of the left upper, then of the right lower corner.
        labels: (objects,) int64; 1 is the first class.
        ignored: (objects,) bool; such objects count neither as found nor as missed, and are not
            trained on: VOC's difficult ones and COCO's crowds.
        areas: (objects,) float32, in square pixels; by these COCO tells small from large.
    """

    path: Path
    boxes: Tensor
    labels: Tensor
    ignored: Tensor
    areas: Tensor


@dataclass(frozen=True)
class Marked:
    """One box as a file has it, with its label and flags."""

    box: tuple[float, float, float, float]
    name: str
    ignored: bool = False
    area: float | None = None


@dataclass
class Split:
    """The images of a split, and the ones left out.

    Attributes:
        images: those with their objects.
        skipped: of images that were left out the file, and why.
        dropped: of boxes that were left out the file, and why.
        clipped: of boxes that were clipped to their image the file.
        labels: whether objects are marked at all.
    """

    images: list[Objects] = field(default_factory=list, repr=False)
    skipped: dict[Path, str] = field(default_factory=dict)
    dropped: list[tuple[Path, str]] = field(default_factory=list)
    clipped: list[Path] = field(default_factory=list)
    labels: bool = True

    def left_out(self, shown: int = 3) -> str:
        """The files and boxes left out, counted, with the first reasons; empty without any."""
        parts = []
        for kind, found in (("image", [*self.skipped.items()]), ("box", self.dropped)):
            if found:
                reasons = [f"{path}: {why}" for path, why in found[:shown]]
                more = ["..."] * (len(found) > shown)
                parts.append(f"{_counted(len(found), kind)} left out ({'; '.join(reasons + more)})")
        if self.clipped:
            parts.append(f"{_counted(len(self.clipped), 'box')} clipped to the image")
        return ", ".join(parts)

    def add(self, path: Path, size: Size, marked: list[Marked], classes: list[str]) -> None:
        """Adds an image. A box is clipped to it; an empty one is left out."""
        kept: list[tuple[Marked, list[float]]] = []
        for each in marked:
            left, top, right, bottom = each.box
            inside = [max(left, 0), max(top, 0), min(right, size[0]), min(bottom, size[1])]
            if not (inside[0] < inside[2] and inside[1] < inside[3]):
                self.dropped.append((path, f"{each.name} {each.box} is empty or outside"))
                continue
            if inside != list(each.box):
                self.clipped.append(path)
            kept.append((each, inside))
        boxes = torch.tensor([inside for _, inside in kept]).reshape(-1, 4)
        whole = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        given = [each.area for each, _ in kept]
        self.images.append(
            Objects(
                path,
                boxes,
                torch.tensor([classes.index(each.name) + 1 for each, _ in kept], dtype=torch.int64),
                torch.tensor([each.ignored for each, _ in kept], dtype=torch.bool),
                torch.tensor(
                    [
                        float(box) if area is None else area
                        for box, area in zip(whole, given, strict=True)
                    ]
                ),
            )
        )


def _counted(number: int, kind: str) -> str:
    return f"{number} box{'es' * (number != 1)}" if kind == "box" else count(number, kind)
