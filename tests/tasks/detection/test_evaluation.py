"""Mean average precision: against COCO's own tools, and of models that know the answer."""

import pytest
import torch
from tests.tasks.detection.test_average_precision import FAR, NEAR_A, A, B, found, there
from torch import nn
from torchvision.ops import box_convert

from virtualpool import VirtualPoolError
from virtualpool.search import Unit
from virtualpool.tasks.detection import coco_metric
from virtualpool.tasks.detection.coco_metric import coco_metrics
from virtualpool.tasks.detection.evaluation import evaluator

IMAGE = torch.zeros(3, 64, 64)


def with_areas(target):
    sides = target["boxes"][:, 2:] - target["boxes"][:, :2]
    return target | {"areas": sides.prod(1)}


class Answers(nn.Module):
    """A detector that gives the same answers, image by image."""

    def __init__(self, answers):
        super().__init__()
        self.answers = answers
        self.place = 0

    def forward(self, images):
        begin, self.place = self.place, self.place + len(images)
        return self.answers[begin : self.place]


def score_of(findings, targets, batch=2, **options):
    pairs = [with_areas(target) for target in targets]
    batches = [
        ([IMAGE] * len(pairs[place : place + batch]), pairs[place : place + batch])
        for place in range(0, len(pairs), batch)
    ]
    return evaluator(batches, **options)(Answers(findings))


MIXED = (
    [
        found((0.9, 1, A), (0.8, 2, B), (0.3, 1, FAR)),
        found((0.7, 1, NEAR_A), (0.6, 1, A)),
        found((0.5, 2, A)),
    ],
    [there((1, A), (2, B)), there((1, A), (1, B)), there((2, B))],
)


def test_the_mean_is_over_classes_and_its_error_over_images():
    score = score_of(*MIXED)
    assert score.unit == Unit("mAP at 0.5", percent=False, decimals=3)
    # Of class 1 the first two are right, of three; of class 2 the first, of two.
    assert float(score) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert score.metrics["voc"] == pytest.approx(float(score), abs=1e-6)
    assert score.metrics["voc2007"] == pytest.approx((7 / 11 + 6 / 11) / 2, abs=1e-6)
    assert score.samples == 3
    without = [(1 / 2 + 0) / 2, (1 + 1 / 2) / 2, (2 / 3 + 1) / 2]
    pseudo = torch.tensor([3 * float(score) - 2 * each for each in without])
    assert score.per_sample is not None
    torch.testing.assert_close(score.per_sample, pseudo)
    assert score.standard_error == pytest.approx(float(pseudo.std()) / 3**0.5)
    worse = score_of([found(), *MIXED[0][1:]], MIXED[1])
    assert (score - worse).standard_error is not None


@pytest.mark.parametrize(("metric", "expected"), [("voc", 7 / 12), ("voc2007", 13 / 22)])
def test_the_metric_is_chosen(metric, expected):
    assert float(score_of(*MIXED, metric=metric)) == pytest.approx(expected)


def test_batches_may_be_empty():
    whole, batches = score_of(*MIXED), [([], [])]
    batches += [([IMAGE], [with_areas(target)]) for target in MIXED[1]]
    assert float(evaluator(batches)(Answers(MIXED[0]))) == float(whole)


def coco_reference(findings, targets):
    """By pycocotools alone."""
    coco = pytest.importorskip("pycocotools.coco").COCO
    evaluation = pytest.importorskip("pycocotools.cocoeval").COCOeval
    truth = coco()
    truth.dataset = {
        "info": {},
        "images": [{"id": image} for image in range(len(targets))],
        "categories": [{"id": label} for label in (1, 2)],
        "annotations": [
            {
                "id": 100 * image + place + 1, "image_id": image, "category_id": int(label),
                "iscrowd": int(ignored), "bbox": box.tolist(), "area": float(box[2:].prod()),
            }
            for image, target in enumerate(targets)
            for place, (box, label, ignored) in enumerate(
                zip(box_convert(target["boxes"], "xyxy", "xywh"), target["labels"],
                    target["ignored"], strict=True)
            )
        ],
    }  # fmt: skip
    truth.createIndex()
    results = truth.loadRes(
        [
            {"image_id": image, "category_id": int(label), "bbox": box.tolist(), "score": float(s)}
            for image, finding in enumerate(findings)
            for box, label, s in zip(
                box_convert(finding["boxes"], "xyxy", "xywh"),
                finding["labels"], finding["scores"], strict=True,
            )
        ]
    )  # fmt: skip
    run = evaluation(truth, results, "bbox")
    run.evaluate()
    run.accumulate()
    run.summarize()
    return run.stats


CROWD = ([*MIXED[0], found((0.9, 1, A), (0.8, 1, NEAR_A), (0.2, 1, B))],
         [*MIXED[1], there((1, (0, 0, 15, 15), "crowd"), (1, B))])  # fmt: skip


@pytest.mark.parametrize("case", [MIXED, CROWD])
def test_coco_is_what_its_own_tools_say(case):
    findings, targets = case
    expected = coco_reference(findings, targets)
    metrics = coco_metrics(findings, [with_areas(target) for target in targets])
    assert metrics == {
        "coco": pytest.approx(expected[0]),
        "coco at 0.5": pytest.approx(expected[1]),
        "coco at 0.75": pytest.approx(expected[2]),
    }
    score = score_of(findings, targets, metric="coco")
    assert float(score) == pytest.approx(expected[0])
    assert score.standard_error is None


def test_voc_and_coco_agree_where_they_mean_the_same():
    # COCO's precision is read at 101 recalls; where the recalls found are tenths, so is VOC's area.
    findings = [
        found(*((1 - place / 20, 1, (20 * place, 0, 20 * place + 10, 10)) for place in range(10)))
    ]
    targets = [there(*((1, (20 * place, 0, 20 * place + 10, 10)) for place in range(10)))]
    expected = coco_reference(findings, targets)
    assert float(score_of(findings, targets)) == pytest.approx(expected[1]) == 1.0


@pytest.fixture
def without_pycocotools(monkeypatch):
    monkeypatch.setattr(coco_metric, "find_spec", lambda name: None)


@pytest.mark.usefixtures("without_pycocotools")
def test_without_pycocotools_voc_is_there_and_coco_is_refused():
    assert set(score_of(*MIXED).metrics) == {"voc", "voc2007"}
    with pytest.raises(VirtualPoolError, match=r"pip install 'virtualpool\[detection\]'"):
        evaluator([], metric="coco")


@pytest.mark.parametrize(
    ("model", "targets", "said"),
    [
        (nn.Identity(), [there((1, A))], "gives a list; a list with a dict of boxes"),
        (Answers([]), [there((1, A))], "a list with a dict"),
        (Answers([{"boxes": IMAGE}]), [there((1, A))], "a list with a dict"),
        (Answers([found((0.9, 1, A))]), [there()], "no object to be found"),
        (Answers([found((0.9, 1, A))]), [there((1, A, "difficult"))], "no object to be found"),
    ],
)
def test_what_cannot_be_judged_is_refused(model, targets, said):
    batches = [([IMAGE], [with_areas(target)]) for target in targets]
    with pytest.raises(VirtualPoolError, match=said):
        evaluator(batches)(model)


def test_an_unknown_metric_is_refused():
    with pytest.raises(VirtualPoolError, match="no metric 'f1'; there are: voc, voc2007, coco"):
        evaluator([], metric="f1")  # pyright: ignore[reportArgumentType]
