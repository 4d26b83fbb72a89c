"""Average precision, against the definition as VOC's development kit writes it in a loop."""

import pytest
import torch

from virtualpool.tasks.detection.average_precision import Ranked, ranked


def found(*rows):
    """The boxes found in an image: (score, label, box)."""
    return {
        "scores": torch.tensor([row[0] for row in rows], dtype=torch.float32),
        "labels": torch.tensor([row[1] for row in rows], dtype=torch.int64),
        "boxes": torch.tensor([row[2] for row in rows], dtype=torch.float32).reshape(-1, 4),
    }


def there(*rows):
    """The true boxes in an image: (label, box, and whether it is difficult)."""
    return {
        "labels": torch.tensor([row[0] for row in rows], dtype=torch.int64),
        "boxes": torch.tensor([row[1] for row in rows], dtype=torch.float32).reshape(-1, 4),
        "ignored": torch.tensor([len(row) > 2 for row in rows], dtype=torch.bool),
    }


A, B, FAR = (0, 0, 10, 10), (20, 0, 30, 10), (50, 50, 60, 60)
NEAR_A = (0, 0, 10, 8)
ON_BOTH = (4, 0, 14, 10)

CASES = {
    "both found": ([found((0.9, 1, A), (0.8, 1, B))], [there((1, A), (1, B))], [True, True], 2),
    "the surer first": ([found((0.1, 1, A), (0.8, 1, FAR))], [there((1, A))], [False, True], 1),
    "found twice": ([found((0.9, 1, A), (0.8, 1, NEAR_A))], [there((1, A))], [True, False], 1),
    "half an overlap is enough": ([found((0.9, 1, (0, 0, 10, 5)))], [there((1, A))], [True], 1),
    "less is not": ([found((0.9, 1, (0, 0, 10, 4.9)))], [there((1, A))], [False], 1),
    "difficult and found": ([found((0.9, 1, A))], [there((1, A, "difficult"))], [], 0),
    "difficult and found twice": (
        [found((0.9, 1, A), (0.8, 1, NEAR_A))],
        [there((1, A, "difficult"), (1, B))],
        [],
        1,
    ),
    "difficult and missed": ([found((0.9, 1, B))], [there((1, A, "difficult"), (1, B))], [True], 1),
    "of another class": ([found((0.9, 2, A))], [there((1, A))], [], 1),
    "in another image": ([found((0.9, 1, A)), found()], [there(), there((1, A))], [False], 1),
    "the nearest is taken": (
        # VOC does not look for the second nearest, as COCO does.
        [found((0.9, 1, (0, 0, 10, 10)), (0.8, 1, (1, 0, 11, 10)))],
        [there((1, (0, 0, 10, 10)), (1, (3, 0, 13, 10)))],
        [True, False],
        2,
    ),
    "nothing found": ([found()], [there((1, A))], [], 1),
    "nothing there": ([found((0.9, 1, A))], [there()], [False], 0),
    "by score over all images": (
        [found((0.5, 1, A)), found((0.9, 1, A), (0.1, 1, B))],
        [there((1, A)), there((1, B))],
        [False, True, True],
        2,
    ),
}


@pytest.mark.parametrize(("findings", "targets", "right", "count"), CASES.values(), ids=CASES)
def test_what_is_right(findings, targets, right, count):
    result = ranked(findings, targets, label=1)
    assert result.right.tolist() == right
    assert int(result.objects.sum()) == count
    assert len(result.image) == len(right)


def reference(right, count, rule):
    """As in VOCevaldet.m."""
    hits = [sum(right[: place + 1]) for place in range(len(right))]
    recall = [hit / count for hit in hits]
    precision = [hit / (place + 1) for place, hit in enumerate(hits)]
    if rule == "11 points":
        levels = [level / 10 for level in range(11)]
        return sum(
            max([p for p, r in zip(precision, recall, strict=True) if r >= level], default=0)
            for level in levels
        ) / len(levels)
    recall, precision = [0, *recall, 1], [0, *precision, 0]
    for place in reversed(range(len(precision) - 1)):
        precision[place] = max(precision[place], precision[place + 1])
    return sum(
        (recall[place + 1] - recall[place]) * precision[place + 1]
        for place in range(len(recall) - 1)
    )


@pytest.mark.parametrize("rule", ["all points", "11 points"])
@pytest.mark.parametrize(
    ("right", "count"),
    [
        ([], 3),
        ([True], 1),
        ([False], 1),
        ([True, False, True], 4),
        ([False, True, False, True, True], 3),
        ([True] * 3 + [False] * 4 + [True] * 7, 10),
        ([False, True] * 20, 25),
    ],
)
def test_the_area_under_precision_over_recall(right, count, rule):
    result = Ranked(
        torch.tensor(right, dtype=torch.bool), torch.zeros(len(right)), torch.tensor([count])
    )
    assert result.average_precision(rule) == pytest.approx(reference(right, count, rule), abs=1e-12)


def test_without_objects_there_is_no_precision():
    nothing = Ranked(torch.tensor([False]), torch.tensor([0]), torch.tensor([0]))
    assert nothing.average_precision("all points") is None


def test_without_an_image():
    both = [found((0.9, 1, A)), found((0.8, 1, FAR))], [there((1, A)), there((1, B))]
    whole = ranked(*both, label=1)
    for image in (0, 1):
        rest = whole.without(image)
        alone = ranked([both[0][1 - image]], [both[1][1 - image]], label=1)
        assert rest.right.tolist() == alone.right.tolist()
        assert int(rest.objects.sum()) == int(alone.objects.sum())
