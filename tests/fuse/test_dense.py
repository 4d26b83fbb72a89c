"""Networks for dense prediction: with all sites pooled few maps are interpolated."""

from dataclasses import replace

import pytest

import virtualpool as vp
from tests.fuse.checks import assert_same, images, run
from tests.fuse.dense import DENSE, dense
from virtualpool.apply import apply_plan
from virtualpool.fuse import report_of

# How many maps are interpolated besides the output, and who asks for them.
FULL: dict[str, set[str]] = {
    "U-Net, shuffled": {"output", "enlarge_deepest.1", "enlarge_third.1"},
    "U-Net, aligned and padded": {"output", "enlarge_deepest", "enlarge_third"},
    "FPN": {"output", "interpolate", "add"},
    "DeepLabV3": {"interpolate"},
    "LR-ASPP": {"interpolate"},
    "HRNet": {"up.2", "add", "interpolate", "cat"},
}


PADDED = ["U-Net, bilinear", "U-Net, transposed", "U-Net++", "Linknet", "LR-ASPP"]


@pytest.mark.parametrize(
    ("name", "border"), [*((it, "exact") for it in DENSE), *((it, "padded") for it in PADDED)]
)
def test_what_is_interpolated(name, border):
    model, example = dense(name), images(32, 48)
    pooled = vp.apply(model, example, border=border)
    fused = vp.fuse(pooled, example)
    for each in (example, images(16, 32, batch=1)):
        assert_same(run(fused, each), run(pooled, each))
    report = report_of(fused)
    assert report is not None
    assert {who for it in report.interpolations for who in it.asked_by} == FULL.get(
        name, {"output"}
    )


def test_the_plan_says_which_channels_a_padded_border_is_of(tmp_path):
    model, example = dense("U-Net++"), images(32, 48)
    pooled = vp.apply(model, example, border="padded")
    runs = {each.convolution: each.runs for each in vp.plan_of(pooled).channels}
    assert runs == {"x01.0": ((6, 10),), "x11.0": ((8, 14),), "x02.0": ((6, 10), (10, 14))}
    assert {*runs} <= {*vp.plan_of(pooled).padded}
    vp.save(pooled, tmp_path / "model.safetensors")
    loaded = vp.load(dense("U-Net++"), tmp_path / "model.safetensors")
    assert vp.plan_of(loaded) == vp.plan_of(pooled)
    assert_same(run(loaded, example), run(pooled, example), 0.0)


def test_without_its_channels_a_plan_is_loaded_as_it_was_saved(tmp_path):
    model, example = dense("U-Net, nearest"), images(32, 48)
    pooled = vp.apply(model, example, border="padded")
    plan = vp.plan_of(pooled)
    joined = {each.convolution for each in plan.channels}
    older = replace(plan, channels=(), padded=tuple({*plan.padded} - joined))
    loaded = apply_plan(model, example, older)
    fused = vp.fuse(loaded, example)
    assert_same(run(fused, example), run(loaded, example))
    report = report_of(fused)
    assert report is not None
    assert "cat" in {who for each in report.interpolations for who in each.asked_by}


@pytest.mark.parametrize("name", ["U-Net, bilinear", "DeepLabV3"])
def test_of_other_sizes(name):
    model, example = dense(name), images(35, 42)
    if name == "U-Net, bilinear":
        example = images(36, 44)
    pooled = vp.apply(model, example)
    fused = vp.fuse(pooled, example)
    for each in (example, images(40, 48)):
        assert_same(run(fused, each), run(pooled, each))


@pytest.mark.parametrize("name", ["U-Net, nearest", "U-Net, transposed"])
def test_some_sites(name):
    model, example = dense(name), images(32, 48)
    sites = [site.name for site in vp.sites(model, example) if site.eligible]
    for names in (sites[::2], sites[-2:]):
        pooled = vp.apply(model, example, names)
        fused = vp.fuse(pooled, example)
        assert_same(run(fused, example), run(pooled, example))
