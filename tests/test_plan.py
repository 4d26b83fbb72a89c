import json

import pytest
import torch
from torch import nn

import virtualpool as vp
from virtualpool import Plan, PooledSite, VirtualPoolError, plan_of
from virtualpool.plan import Record, attach, record_of, unwrapped

PLAN = Plan((PooledSite("a"), PooledSite("b.c")))
WRAPPERS = {
    "none": lambda model: model,
    "compiled": torch.compile,
    "parallel": nn.DataParallel,
    "both": lambda model: torch.compile(nn.DataParallel(model)),
}


def test_json():
    value = PLAN.to_json()
    assert value == {
        "version": 1,
        "sites": [{"name": "a", "factor": [2, 2]}, {"name": "b.c", "factor": [2, 2]}],
    }
    assert Plan.from_json(json.loads(json.dumps(value))) == PLAN


NO_PLANS = {
    "nothing": (None, "Not a plan: None"),
    "a list": ([], r"Not a plan: \[\]"),
    "no version": ({"sites": []}, "a plan has a version and sites"),
    "a version in words": ({"version": "1", "sites": []}, "a plan has a version and sites"),
    "newer": ({"version": 2, "layers": []}, "version 2; this virtualpool knows 1 and older"),
    "no sites": ({"version": 1}, "Not a plan"),
    "sites without a name": ({"version": 1, "sites": [{"factor": [2, 2]}]}, "need a name"),
    "one factor": ({"version": 1, "sites": [{"name": "a", "factor": 2}]}, "need a name"),
    "factor 3": ({"version": 1, "sites": [{"name": "a", "factor": [3, 3]}]}, "only 2 by 2"),
    "factor per axis": ({"version": 1, "sites": [{"name": "a", "factor": [2, 1]}]}, "only 2 by 2"),
    "a site twice": ({"version": 1, "sites": [{"name": "a", "factor": [2, 2]}] * 2}, "twice"),
}


@pytest.mark.parametrize(("value", "message"), NO_PLANS.values(), ids=NO_PLANS)
def test_what_is_no_plan_is_refused(value, message):
    with pytest.raises(VirtualPoolError, match=message):
        Plan.from_json(value)


def test_a_plan_grows_in_order_and_does_not_change():
    assert PLAN.extended(["z", "d"]).names == ["a", "b.c", "z", "d"]
    assert PLAN.names == ["a", "b.c"]


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_plan_of_a_wrapped_model(wrap):
    model = nn.Sequential(nn.Conv2d(3, 3, 1))
    assert plan_of(wrap(model)) == Plan()
    attach(model, Record(PLAN, None))
    assert plan_of(wrap(model)) == PLAN
    assert unwrapped(wrap(model)) is model


def block():
    return nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())


def test_pooled_submodules_and_then_the_whole():
    images = torch.rand(1, 3, 12, 12)
    trunk = vp.apply(block(), images, ["0"])
    model = nn.ModuleDict({"trunk": trunk, "other": vp.apply(block(), images, "all")})
    assert plan_of(model).names == ["trunk.0", "other.0"]
    assert record_of(model) is None

    whole = nn.Sequential(trunk, block())
    assert [site.reason for site in vp.sites(whole, images)] == ["already pooled", None]
    pooled = vp.apply(whole, images, "all")
    assert plan_of(pooled).names == ["0.0", "1.0"]
    assert plan_of(pooled[0]).names == []  # pyright: ignore[reportIndexIssue]
    assert [pooled[0][0].stride, pooled[1][0].stride] == [(2, 2), (2, 2)]  # pyright: ignore[reportIndexIssue]
