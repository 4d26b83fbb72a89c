"""Fine-tuning of a pooled detector: by its own losses, and towards the original's maps."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from tests.tasks.detection.tiny import batches, tiny_detector

import virtualpool as vp
from virtualpool import Plan, Score, VirtualPoolError
from virtualpool.search import Round, by_labels, by_recalibration, read_records
from virtualpool.tasks.detection import by_detector_distillation, detector_loss
from virtualpool.tasks.detection.distillation import _Maps

SETTINGS: dict[str, Any] = {"epochs": 20, "optimizer": "adamw", "learning_rate": 1e-3}


@pytest.fixture
def make_round(tmp_path) -> Callable[[], Round]:
    return partial(
        Round,
        index=1,
        added=(),
        plan=Plan(),
        directory=tmp_path,
        learning_rate=None,
        epochs=None,
        evaluate=lambda model: Score.of(0.5),
    )


def pooled_detector():
    original = tiny_detector()
    return original, vp.apply(original, batches()[0][0], "all")


def mean_loss(loss, model) -> float:
    torch.manual_seed(0)
    model.train()
    with torch.no_grad():
        return sum(float(loss(model, batch)) for batch in batches()) / len(batches())


def test_by_its_own_losses(make_round):
    _, pooled = pooled_detector()
    before = mean_loss(detector_loss, pooled)
    settings: Any = SETTINGS | {"learning_rate": 5e-3}
    by_labels(batches(), loss=detector_loss, **settings)(pooled, make_round())
    assert mean_loss(detector_loss, pooled) < 0.8 * before
    assert [it for it in read_records(make_round().journal) if "loss" in it]


@pytest.mark.parametrize(
    "weights", [{}, {"labels": 1.0}, {"sites": 0.0}, {"features": 0.0, "sites": 1.0}]
)
def test_towards_the_maps_of_the_original(make_round, weights):
    original, pooled = pooled_detector()
    kept = {"features": 1.0, "labels": 0.0, "sites": 40.0} | weights
    loss = _Maps(original, **kept).on(torch.device("cpu"))
    before = mean_loss(loss, pooled)
    finetune = by_detector_distillation(original, batches(), **weights, **SETTINGS)
    finetune(pooled, make_round())
    assert mean_loss(loss, pooled) < 0.8 * before


def test_the_original_is_at_no_distance_from_itself():
    original = tiny_detector()
    loss = _Maps(original, features=1.0, labels=0.0, sites=40.0).on(torch.device("cpu"))
    assert mean_loss(loss, original) == 0


def test_what_has_no_maps_to_compare_is_refused(make_round):
    pooled = vp.apply(tiny_detector(), batches()[0][0], "all")
    for original, said in (
        (torch.nn.Conv2d(3, 3, 3), "Conv2d has no backbone"),
        (tiny_detector(min_size=(32, 48)), r"to one of \(32, 48\)"),
    ):
        with pytest.raises(VirtualPoolError, match=said):
            by_detector_distillation(original, batches())(pooled, make_round())


def test_batch_norm_is_measured_on_lists_of_images():
    model = tiny_detector()
    norm = torch.nn.BatchNorm2d(3, affine=False)
    backbone: Any = model.backbone
    backbone.insert(0, norm)
    by_recalibration(batches())(model)
    assert norm.running_mean is not None
    assert not torch.equal(norm.running_mean, torch.zeros(3))
