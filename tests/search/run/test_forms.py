import json

import pytest
import torch
from torch import nn

import virtualpool as vp
from virtualpool import VirtualPoolError
from virtualpool.fuse import report_of
from virtualpool.measure import Latency, Setting
from virtualpool.measure.latency import LatencyOptions
from virtualpool.search.run import forms
from virtualpool.search.run.forms import Times, fused_if_possible, timed

SETTING = Setting("cpu", "A processor", "float32", 1, 1, "eager", True, "2.9.0")
ONCE: LatencyOptions = {"repeats": 1, "threads": 1}


def took(*samples: float) -> Latency:
    return Latency(samples, SETTING)


UNMODIFIED = took(9, 9, 9)
CHOICES = {
    "the original": (None, None, False, UNMODIFIED),
    "faster fused": (took(6, 6, 6), took(3, 3, 3), True, took(3, 3, 3)),
    "as fast": (took(6, 6, 6), took(6, 6, 6), True, took(6, 6, 6)),
    "slower within the spread": (took(6, 6, 6), took(7, 7, 5), True, took(7, 7, 5)),
    "slower fused": (took(6, 6, 6), took(7, 7, 6.5), False, took(6, 6, 6)),
    "not fused": (took(6, 6, 6), None, False, took(6, 6, 6)),
}


@pytest.mark.parametrize(("unfused", "fused", "keeps_fused", "kept"), CHOICES.values(), ids=CHOICES)
def test_the_faster_form_is_kept(unfused, fused, keeps_fused, kept):
    times = Times(UNMODIFIED, unfused, fused, missing={"half_resolution": "one size"})
    assert (times.keeps_fused, times.kept) == (keeps_fused, kept)
    assert Times.from_json(json.loads(json.dumps(times.to_json()))) == times


@pytest.mark.parametrize("value", [None, [], {}, {"unmodified": None}])
def test_what_are_no_times_is_refused(value):
    with pytest.raises(VirtualPoolError, match="Not a"):
        Times.from_json(value)


def test_all_forms_are_timed_by_turns(network, images):
    pooled = vp.apply(network, images, "all")
    fused, report = fused_if_possible(pooled, images)
    assert fused is not None
    assert report == report_of(fused)
    times = timed(network, images[:1], {**ONCE, "batch": 2}, unfused=pooled, fused=fused)
    found = [times.unmodified, times.unfused, times.fused, times.half_resolution]
    assert {latency.setting for latency in found if latency} == {times.unmodified.setting}
    assert [latency is None for latency in found] == [False] * 4
    assert times.unmodified.setting.batch == 2
    assert times.missing == {}


def test_what_cannot_be_timed_is_said_and_the_rest_is_timed(network, images):
    network[7], network[9] = nn.Identity(), nn.Linear(6 * 36, 4)
    broken = nn.Sequential(nn.Conv2d(5, 4, 3))
    times = timed(network, images[:1], ONCE, unfused=network, fused=broken)
    assert (times.fused, times.half_resolution) == (None, None)
    assert times.unfused is not None
    assert "(1, 3, 12, 12)" in times.missing["fused"]
    assert "(1, 3, 6, 6)" in times.missing["half_resolution"]
    with pytest.raises(VirtualPoolError, match="Sequential does not run"):
        timed(broken, images[:1], ONCE)


def test_no_error_of_fusing_ends_a_search(network, images, monkeypatch):
    def fails(*_: object) -> None:
        raise KeyError("a mistake of ours")

    monkeypatch.setattr(forms, "fuse", fails)
    fused, report = fused_if_possible(vp.apply(network, images, "all"), images)
    assert fused is None
    assert report.remaining == ["the model is as it was: KeyError: 'a mistake of ours'"]


def test_the_inputs_of_half_are_halved_before_the_batch_is_made(network):
    seen = []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    timed(network, torch.rand(1, 3, 13, 12), {**ONCE, "batch": 3})
    assert (3, 3, 7, 6) in seen
