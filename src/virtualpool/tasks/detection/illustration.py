"""Two models' boxes in some images, as the pictures of a run's report."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from virtualpool.tasks.detection import drawing
from virtualpool.tasks.detection.comparison import Comparison, Seen, compared
from virtualpool.tasks.detection.objects import Objects
from virtualpool.tasks.pictures import data_uri, spread

IMAGES = 4
MIN_SCORE = 0.5
_FORMAT = "webp"


def illustrated(
    models: dict[str, nn.Module], images: Sequence[Objects], classes: Sequence[str]
) -> dict[str, Any]:
    """The boxes of the original and a pooled model in some images, for `virtualpool.report`.

    Args:
        models: the original and the pooled one, by their names for people.
        images: of which a few are drawn, from all over.
        classes: their names; the first has the label 1.

    Returns:
        A JSON-able value: a title, a caption, and rows of pictures, each a data URI.
    """
    drawn = spread(images, IMAGES)
    return {
        "title": "Boxes of both models",
        "caption": (
            f"Boxes with a score of at least {MIN_SCORE:g}. Solid: found by both models, of one "
            "class and with half of their union in common at least. Dashed: found by one of them "
            "alone. Thin: marked in the data."
        ),
        "rows": [_row(each, classes) for each in compared(models, drawn, MIN_SCORE)],
    }


def _row(comparison: Comparison, classes: Sequence[str]) -> dict[str, Any]:
    both = comparison.original, comparison.pooled
    return {
        "title": f"{comparison.objects.path.name}: {comparison.agreed} found by both",
        "pictures": [
            {
                "title": f"{seen.model}: {len(seen)} found",
                "data": _data(comparison, seen, classes),
            }
            for seen in both
        ],
    }


def _data(comparison: Comparison, seen: Seen, classes: Sequence[str]) -> str:
    return data_uri(_FORMAT, lambda file: drawing.alone(comparison, seen, classes, file, _FORMAT))
