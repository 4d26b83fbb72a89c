import json
from dataclasses import replace
from importlib import metadata
from typing import Any

import pytest
import torch
from torch import nn

import virtualpool as vp
from virtualpool import Plan, PooledSite, VirtualPoolError, plan_of
from virtualpool.plan import Record, RecoveredChannels, attach, record_of, unwrapped

PLAN = Plan((PooledSite("a", "activation"), PooledSite("b.c", "conv")))
WRAPPERS = {
    "none": lambda model: model,
    "compiled": torch.compile,
    "parallel": nn.DataParallel,
    "both": lambda model: torch.compile(nn.DataParallel(model)),
}


def test_json():
    value = PLAN.to_json()
    assert value == {
        "version": 2,
        "virtualpool": metadata.version("virtualpool"),
        "border": "exact",
        "sites": [{"name": "a", "follows": "activation"}, {"name": "b.c", "follows": "conv"}],
    }
    assert Plan.from_json(json.loads(json.dumps(value))) == PLAN


def test_a_plan_with_padded_borders_says_which_convolutions_read_them():
    plan = PLAN.extended([PooledSite("c", "norm")], "padded", ["b.c", "head"])
    value = plan.to_json()
    assert (value["border"], value["padded"]) == ("padded", ["b.c", "head"])
    assert Plan.from_json(json.loads(json.dumps(value))) == plan
    assert plan != replace(plan, border="exact", padded=())
    assert Plan.from_json(PLAN.to_json() | {"border": "padded"}).padded == ()


def test_a_plan_says_which_channels_have_padded_borders_where_not_all_have():
    some = RecoveredChannels("b.c", ((0, 4), (6, 8)))
    plan = PLAN.extended([], "padded", ["b.c"], channels=[some])
    value = json.loads(json.dumps(plan.to_json()))
    assert value["channels"] == [{"convolution": "b.c", "runs": [[0, 4], [6, 8]]}]
    assert Plan.from_json(value) == plan
    assert "channels" not in PLAN.to_json()


def test_a_plan_of_version_1_does_not_say_where_its_virtual_pools_are():
    plan = Plan.from_json({"version": 1, "sites": [{"name": "a", "factor": [2, 2]}]})
    assert plan == Plan((PooledSite("a", None),))
    assert plan.library is None
    assert Plan.from_json(plan.to_json()) == plan


def test_what_a_newer_library_has_added_is_left_out():
    value: Any = PLAN.to_json() | {"added": 1}
    value["sites"][0]["added"] = [1]
    assert Plan.from_json(value) == PLAN


def test_a_plan_says_what_each_virtual_pool_comes_after():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 3, padding=1),
    )  # fmt: skip
    images = torch.rand(1, 3, 12, 12)
    plan = plan_of(vp.apply(model, images, ["5", "0", "3"]))
    assert [(site.name, site.follows) for site in plan.sites] == [
        ("5", "conv"), ("0", "activation"), ("3", "norm"),
    ]  # fmt: skip


NO_PLANS = {
    "nothing": (None, "Not a plan: None"),
    "a list": ([], r"Not a plan: \[\]"),
    "no version": ({"sites": []}, "a plan has a version and sites"),
    "a version in words": ({"version": "1", "sites": []}, "a plan has a version and sites"),
    "newer": ({"version": 3, "layers": []}, "version 3; this virtualpool knows 2 and older"),
    "a version that is true": ({"version": True, "sites": []}, "a plan has a version and sites"),
    "another border": ({"version": 2, "border": "wide", "sites": []}, "border is 'wide', where"),
    "another place": (
        {"version": 2, "sites": [{"name": "a", "follows": "sum"}]},
        r"Not a plan.*'sum' - at `\$.sites\[0\].follows`",
    ),
    "a name that is none": ({"version": 2, "sites": [{"name": 5}]}, "Expected `str`, got `int`"),
    "no sites": ({"version": 1}, "Not a plan"),
    "sites without a name": (
        {"version": 1, "sites": [{"factor": [2, 2]}]},
        "required field `name`",
    ),
    "one factor": ({"version": 1, "sites": [{"name": "a", "factor": 2}]}, "Expected `array`"),
    "factor 3": ({"version": 1, "sites": [{"name": "a", "factor": [3, 3]}]}, "only 2 by 2"),
    "factor per axis": ({"version": 1, "sites": [{"name": "a", "factor": [2, 1]}]}, "only 2 by 2"),
    "a site twice": ({"version": 1, "sites": [{"name": "a", "factor": [2, 2]}] * 2}, "twice"),
}


@pytest.mark.parametrize(("value", "message"), NO_PLANS.values(), ids=NO_PLANS)
def test_what_is_no_plan_is_refused(value, message):
    with pytest.raises(VirtualPoolError, match=message):
        Plan.from_json(value)


def test_a_plan_grows_in_order_and_does_not_change():
    assert PLAN.extended([PooledSite("z"), PooledSite("d")]).names == ["a", "b.c", "z", "d"]
    assert PLAN.names == ["a", "b.c"]


@pytest.mark.parametrize("ask", [plan_of, vp.summary])
@pytest.mark.parametrize("given", ["net.pt", None, {"0.weight": 1}])
def test_what_is_no_model_has_no_plan(ask, given):
    with pytest.raises(VirtualPoolError, match=r"A torch\.nn\.Module is expected, not a"):
        ask(given)


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
