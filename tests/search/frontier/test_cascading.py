from pathlib import Path

import pytest
import torch
from torch import nn

import virtualpool as vp
from virtualpool import VirtualPoolError
from virtualpool.measure import Latency, Setting
from virtualpool.search.frontier import Frontier, Point

SETTING = Setting("cpu", "A processor", "float32", 1, 1, "eager", True, "2.9.0")
BASELINE = Latency((20.0, 20.0, 20.0), SETTING)
QUICK = {"repeats": 1, "duration_s": 0.01}


@pytest.fixture
def network() -> nn.Module:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
        ).eval()  # fmt: skip


BATCHES = list(torch.rand(400, 3, 8, 8, generator=torch.Generator().manual_seed(1)).split(100))


def _frontier(network: nn.Module, folder: Path, **speedups: float) -> Frontier:
    """Each round's model pools one site; "wrong" gives the least class of the original."""
    points = []
    for name, speedup in {"original": 1.0, **speedups}.items():
        model = network if name == "original" else vp.apply(network, BATCHES[0][:1], ["0"])
        if name == "wrong":
            with torch.no_grad():
                for parameter in model.get_submodule("5").parameters():
                    parameter.neg_()
        vp.save(model, folder / f"{name}.safetensors")
        latency = Latency(tuple(ms / speedup for ms in BASELINE.samples_ms), SETTING)
        weights = None if name == "original" else f"{name}.safetensors"
        points.append(
            Point(
                name, 1 / speedup, 0.0, latency, BASELINE, latency.speedup_over(BASELINE), 1,
                vp.plan_of(model), weights,
            )
        )  # fmt: skip
    return Frontier(tuple(points), folder)


def test_the_least_expected_time_is_taken(network, tmp_path):
    frontier = _frontier(network, tmp_path, slower=0.5, right=2.0, wrong=4.0)
    cascade = frontier.cascade(network, BATCHES, max_drop=0.02, **QUICK)
    assert cascade.calibration.outcome.answered == 1  # "wrong" would answer nothing
    assert cascade.calibration.confidence == 0.95
    bias = [model.get_parameter("5.bias") for model in (cascade.fast, network)]
    assert torch.equal(*bias)
    assert [times.images for times in cascade.times] == [1, 100]
    assert vp.plan_of(cascade.fast).names == ["0"]
    assert vp.plan_of(cascade.slow).is_empty


@pytest.mark.parametrize("point", ["wrong", 2])
def test_a_point_that_is_named_is_taken(network, tmp_path, point):
    frontier = _frontier(network, tmp_path, right=2.0, wrong=4.0)
    point = point if isinstance(point, str) else frontier.points[point]
    cascade = frontier.cascade(network, BATCHES, point=point, batch=1, **QUICK)
    assert cascade.calibration.outcome.lost == 0
    assert cascade.calibration.outcome.answered < 1
    assert [times.images for times in cascade.times] == [1]


def test_models_to_choose_from_share_what_the_confidence_lacks(network, tmp_path):
    frontier = _frontier(network, tmp_path, right=2.0, wrong=4.0)
    with pytest.raises(VirtualPoolError, match="388 are needed"):  # 0.975 of each
        frontier.cascade(network, BATCHES[:3], **QUICK)


def test_refused(network, tmp_path):
    frontier = _frontier(network, tmp_path, slower=0.9)
    with pytest.raises(VirtualPoolError, match="No model of the frontier is faster"):
        frontier.cascade(network, BATCHES)
    with pytest.raises(VirtualPoolError, match="No model is named 'other'"):
        frontier.cascade(network, BATCHES, point="other")
