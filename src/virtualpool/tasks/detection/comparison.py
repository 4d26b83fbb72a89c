"""Two models' boxes in the same images."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from virtualpool.graph.running import evaluating
from virtualpool.measure.boxes import Found, as_sure_as, shared
from virtualpool.tasks.detection.found import found_in
from virtualpool.tasks.detection.images import decoded
from virtualpool.tasks.detection.objects import Objects


@dataclass(frozen=True)
class Seen:
    """The boxes that a model finds in an image.

    Attributes:
        model: its name for people.
        found: `boxes`, `scores` and `labels`.
        shared: (boxes,) bool; which of them the other model finds, too.
    """

    model: str
    found: Found
    shared: Tensor

    def __len__(self) -> int:
        return len(self.shared)


@dataclass(frozen=True)
class Comparison:
    """Two models' boxes in an image.

    Attributes:
        image: (3, H, W) float32 in [0, 1].
        objects: the objects marked in it.
        original: the boxes of the unmodified model.
        pooled: the boxes of the pooled one.
    """

    image: Tensor
    objects: Objects
    original: Seen
    pooled: Seen

    @property
    def agreed(self) -> int:
        """How many boxes both find."""
        return int(self.original.shared.sum())


def compared(
    models: dict[str, nn.Module], images: Iterable[Objects], min_score: float
) -> Iterator[Comparison]:
    """The boxes of the original and of a pooled model, image by image.

    An image that cannot be read is left out, and said in the log.

    Args:
        models: the original and the pooled one, by their names for people.
        images: the files, with the objects marked in them.
        min_score: boxes with a lower score are left out.

    Raises:
        VirtualPoolError: one of the models is no detector.
    """
    for objects in images:
        image = decoded(objects.path)
        if image is None:
            continue
        found = [as_sure_as(min_score, _found(image, model)) for model in models.values()]
        original, pooled = map(Seen, models, found, shared(found[0], found[1]))
        yield Comparison(image, objects, original, pooled)


def name_of(label: int, classes: Sequence[str]) -> str:
    """The name of a label; the first class has the label 1.

    >>> name_of(1, ["cat", "dog"]), name_of(3, ["cat", "dog"])
    ('cat', 'class 3')
    """
    return classes[label - 1] if 0 < label <= len(classes) else f"class {label}"


def _found(image: Tensor, model: nn.Module) -> Found:
    with evaluating(model), torch.inference_mode():
        [found] = found_in([image], model)
    return {name: found[name] for name in ("boxes", "scores", "labels")}
