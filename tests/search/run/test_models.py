import json

import pytest
import torch
from torch import nn

import virtualpool as vp
from virtualpool.fuse import report_of
from virtualpool.measure import Latency, Setting
from virtualpool.search.run import Run, models
from virtualpool.search.run.forms import Times
from virtualpool.search.run.models import Models

SETTING = Setting("cpu", "A processor", "float32", 1, 1, "eager", True, "2.9.0")
UNMODIFIED, SLOW, FAST = (Latency((ms,), SETTING) for ms in (9.0, 6.0, 3.0))
FUSED_IS = {
    "faster": Times(UNMODIFIED, unfused=SLOW, fused=FAST),
    "slower": Times(UNMODIFIED, unfused=FAST, fused=SLOW),
    "not there": Times(UNMODIFIED, unfused=FAST, missing={"fused": "it failed"}),
}


@pytest.fixture
def kept(network, images, tmp_path) -> Models:
    """The models of a run whose first round is tuned."""
    kept = Models(Run(tmp_path), network, images[:1], {"repeats": 1, "threads": 1})
    vp.save(vp.apply(network, images, ["2", "5"]), kept.path(1))
    return kept


def is_fused(model: nn.Module) -> bool:
    return report_of(model) is not None


def test_the_unmodified_model_is_that_of_round_0(kept, network):
    assert kept.loaded(0) is kept.unfused(0) is network
    assert [kept.exists(index) for index in (1, 2)] == [True, False]
    times = kept.times(0)
    assert times.kept == times.unmodified
    assert times.half_resolution is not None
    assert not (kept.path(0).parent / "fusing.json").exists()


def test_a_round_is_fused_and_timed_once(kept, images, monkeypatch):
    times = kept.times(1)
    assert None not in (times.unfused, times.fused, times.half_resolution)
    assert is_fused(kept.loaded(1))
    assert not is_fused(kept.unfused(1))
    assert torch.allclose(kept.loaded(1)(images), kept.unfused(1)(images), atol=1e-6)
    monkeypatch.setattr(models, "timed", lambda *_, **__: pytest.fail("timed again"))
    assert kept.times(1) == times


@pytest.mark.parametrize("case", FUSED_IS)
def test_the_file_gives_the_faster_form_however_often_it_is_asked_to(kept, case, monkeypatch):
    kept.times(1)  # leaves a fused file, as a kill before the choice does
    path = kept.path(1).parent / "times.json"
    path.write_text(json.dumps(FUSED_IS[case].to_json()))
    for _ in range(2):
        kept.keep_faster_form(1)
        assert is_fused(kept.loaded(1)) == (case == "faster")
        assert vp.plan_of(kept.loaded(1)).names == ["2", "5"]
    log = (kept.run.directory / "log.txt").read_text()
    assert ("kept unfused" in log) == (case == "slower")


def test_a_round_of_before_there_was_fusing_goes_on(kept, network, images):
    (kept.path(1).parent / "latency.json").write_text("[]")
    kept.keep_faster_form(1)
    assert kept.times(1).fused is not None
    again = vp.apply(kept.unfused(1), images, ["0"])
    assert vp.plan_of(again).names == ["2", "5", "0"]


def test_the_time_that_a_site_saves_is_that_of_the_fused_model(kept, monkeypatch):
    def latency(timed, *_, **__):
        return {name: FAST if is_fused(model) else UNMODIFIED for name, model in timed.items()}

    monkeypatch.setattr(models, "latency", latency)
    assert kept.saved_ms("2") == 6
