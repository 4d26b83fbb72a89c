import json
import random
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.fuzzing import garbled, rewritten

import virtualpool as vp
from virtualpool import Plan, VirtualPoolError
from virtualpool.measure import Latency, Setting
from virtualpool.measure.unit import Unit
from virtualpool.plan import PooledSite
from virtualpool.search.frontier.frontier import Frontier, Point

SETTING = Setting("cpu", "A processor", "float32", 1, 1, "eager", True, "2.9.0")
BASELINE = Latency((20.0, 22.0, 21.0), SETTING)


def _point(name: str, accuracy: float, speedup: float) -> Point:
    latency = Latency(tuple(sample / speedup for sample in BASELINE.samples_ms), SETTING)
    pooled = name != "original"
    return Point(
        name=name,
        accuracy=accuracy,
        standard_error=0.004,
        latency=latency,
        baseline=BASELINE,
        speedup=latency.speedup_over(BASELINE),
        macs=1000,
        plan=Plan((PooledSite("0"),)) if pooled else Plan(),
        weights=f"{name}/model.safetensors" if pooled else None,
        metrics={"top5": 0.99},
        drop=round(0.9 - accuracy, 12),
        drop_standard_error=0.002,
    )


def _frontier(directory: Path, **points: tuple[float, float]) -> Frontier:
    rounds = [_point(name, *values) for name, values in points.items()]
    return Frontier((_point("original", 0.9, 1.0), *rounds), directory)


@pytest.fixture
def frontier(tmp_path) -> Frontier:
    return _frontier(tmp_path, r1=(0.91, 1.5), r2=(0.895, 1.4), r3=(0.89, 2.0), r4=(0.8, 3.0))


def _smaller(side: float, accuracy: float, speedup: float) -> Point:
    name = f"smaller-{side:g}"
    point = _point(name, accuracy, speedup)
    return replace(point, plan=Plan(image_scale=side), weights=f"{name}/model.safetensors")


@pytest.fixture
def compared(frontier) -> Frontier:
    """The same frontier beside smaller images, of which one size is not there."""
    smaller = (_smaller(0.75, 0.9, 1.75), _smaller(0.5, 0.88, 4.0))
    return replace(frontier, smaller=smaller, missing={"smaller-0.625": "one size"})


def _names(points) -> list[str]:
    return [point.name for point in points]


PARETO = {
    "a better and faster round beats the original": (
        {"r1": (0.91, 1.5), "r2": (0.895, 1.4), "r3": (0.89, 2.0)},
        ["r1", "r3"],
    ),
    "nothing is faster": ({"r1": (0.85, 0.9)}, ["original"]),
    "equals stay": ({"r1": (0.9, 1.0)}, ["original", "r1"]),
    "by speed": ({"r1": (0.7, 3.0), "r2": (0.8, 2.0)}, ["original", "r2", "r1"]),
    "as accurate and faster": ({"r1": (0.9, 1.1)}, ["r1"]),
}


@pytest.mark.parametrize("case", PARETO)
def test_pareto(tmp_path, case):
    points, expected = PARETO[case]
    assert _names(_frontier(tmp_path, **points).pareto) == expected


PICKS = [
    ({"max_drop": 0.0}, "r1"),
    ({"max_drop": 0.01}, "r3"),
    ({"max_drop": 0.0099}, "r1"),
    ({"max_drop": 1}, "r4"),
    ({"max_drop": -0.01}, "r1"),
    ({"min_speedup": 1}, "r1"),
    ({"min_speedup": 1.6}, "r3"),
    ({"max_latency_ms": 10.5}, "r3"),
    ({"max_latency_ms": 10.4}, "r4"),
    ({"max_drop": 0.05, "min_speedup": 1.2, "max_latency_ms": 15}, "r3"),
    ({"min_speedup": 1.2, "max_latency_ms": 15}, "r1"),
]


@pytest.mark.parametrize(("limits", "expected"), PICKS)
def test_pick(frontier, limits, expected):
    assert frontier.pick(**limits).name == expected


REFUSED_PICKS = [
    ({}, "needs a limit"),
    (
        {"max_drop": 0.01, "min_speedup": 2.2},
        "max_drop=0.01 and min_speedup=2.2: the closest, r3",
    ),
    ({"max_latency_ms": 5}, r"closest, r4, has a drop of 0\.1000, a speedup of 3\.00 and 7 ms"),
    ({"max_drop": -0.5}, "the closest, r1, has a drop of -0.01"),
    ({"min_speedup": 0}, "min_speedup is 0; give more than zero"),
    ({"max_latency_ms": -1.0}, "max_latency_ms is -1.0"),
]


@pytest.mark.parametrize(("limits", "message"), REFUSED_PICKS)
def test_refused_picks(frontier, limits, message):
    with pytest.raises(VirtualPoolError, match=message):
        frontier.pick(**limits)


def test_save_and_load(frontier, tmp_path):
    frontier.save(tmp_path / "frontier.json")
    assert Frontier.load(tmp_path / "frontier.json") == frontier
    frontier.save(tmp_path / "elsewhere" / "frontier.json")
    moved = Frontier.load(tmp_path / "elsewhere" / "frontier.json")
    assert moved.points[1].weights == "../r1/model.safetensors"
    assert moved.points[0] == frontier.points[0]


def test_smaller_images_are_saved_and_loaded_too(compared, tmp_path):
    compared.save(tmp_path / "frontier.json")
    assert Frontier.load(tmp_path / "frontier.json") == compared
    compared.save(tmp_path / "elsewhere" / "frontier.json")
    moved = Frontier.load(tmp_path / "elsewhere" / "frontier.json")
    assert moved.smaller[1].weights == "../smaller-0.5/model.safetensors"
    assert moved.missing == compared.missing


def test_smaller_images_are_no_part_of_the_frontier(frontier, compared):
    assert compared.pareto == frontier.pareto
    assert compared.pick(max_drop=0.05).name == "r3"
    assert compared.pick(min_speedup=1.6).name == "r3"
    with pytest.raises(VirtualPoolError, match="No model is within"):
        compared.pick(min_speedup=3.5)


def test_the_lead_is_that_of_the_best_of_either(frontier, compared):
    # r2 is beaten; between r1, r3 and r4 scores fall by 0.04 and then by 0.09 for each 1x.
    expected = [0.9 - 0.9, 0.89 - (0.9 - 0.02 / 9), 0.8 - (0.9 - 0.1 / 9)]
    assert [speed for speed, _ in compared.lead] == pytest.approx([1.75, 2, 3])
    assert [ahead for _, ahead in compared.lead] == pytest.approx(expected)
    assert frontier.lead == ()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"points": []}', '{"points": [{"name": "a"}]}', '{"points": [3]}']
)
def test_a_file_that_is_no_frontier_is_refused(tmp_path, text):
    (tmp_path / "frontier.json").write_text(text)
    with pytest.raises(VirtualPoolError, match=r"[Nn]ot a"):
        Frontier.load(tmp_path / "frontier.json")
    with pytest.raises(VirtualPoolError, match="cannot be read"):
        Frontier.load(tmp_path / "none.json")


WRONG_PARTS = {
    "smaller is a number": {"smaller": 5},
    "points are a number": {"points": 5},
    "a point is a list": {"points": [[]]},
    "a missing that is none": {"missing": [1]},
    "a newer one": {"schema": 99},
}


@pytest.mark.parametrize("wrong", WRONG_PARTS.values(), ids=WRONG_PARTS)
def test_a_frontier_with_a_wrong_part_names_its_file(frontier, tmp_path, wrong):
    path = tmp_path / "frontier.json"
    frontier.save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | wrong))
    with pytest.raises(VirtualPoolError, match=f"^{path}: "):
        Frontier.load(path)


WRONG_FIELDS: dict[str, Any] = {
    "accuracy": "0.9", "latency": [], "plan": None, "macs": 1.5, "metrics": [1], "side": [],
    "weights": 5, "unit": "accuracy", "over_limit": 0, "speedup": {"median": 1}, "name": None,
}  # fmt: skip


@pytest.mark.parametrize("field", WRONG_FIELDS)
def test_a_point_with_a_wrong_field_names_its_file(frontier, tmp_path, field):
    path = tmp_path / "frontier.json"
    frontier.save(path)
    value = json.loads(path.read_text())
    value["points"][1][field] = WRONG_FIELDS[field]
    path.write_text(json.dumps(value))
    with pytest.raises(VirtualPoolError, match=f"^{path}: "):
        Frontier.load(path)


def test_what_a_newer_library_has_added_is_left_out(frontier, tmp_path):
    path = tmp_path / "frontier.json"
    frontier.save(path)
    value = json.loads(path.read_text()) | {"added": 1}
    for point in value["points"]:
        point["added"] = point["latency"]["added"] = [1]
    path.write_text(json.dumps(value))
    assert Frontier.load(path) == frontier


def _latency(speedup: float) -> Latency:
    return Latency(tuple(sample / speedup for sample in BASELINE.samples_ms), SETTING)


FORMS = {
    "of before there was fusing": ({}, False, ""),
    "fused": (
        {"unfused": _latency(1.5), "fused": _latency(2), "half_resolution": _latency(3)},
        True,
        ", fused (unfused 1.50x, half resolution 3.00x)",
    ),
    "unfused, for fused it is slower": (
        {"unfused": _latency(2), "fused": _latency(1.25), "half_resolution": _latency(3)},
        False,
        ", unfused (fused 1.25x, half resolution 3.00x)",
    ),
    "neither can be measured": (
        {
            "unfused": _latency(2),
            "missing": {"fused": "it has hooks", "half_resolution": "one size"},
        },
        False,
        ", unfused",
    ),
}


@pytest.mark.parametrize(("forms", "is_fused", "said"), FORMS.values(), ids=FORMS)
def test_a_point_as_json_and_as_text(frontier, forms, is_fused, said):
    point = replace(frontier.points[3], over_limit=True, **forms)
    assert Point.from_json(json.loads(json.dumps(point.to_json()))) == point
    assert point.is_fused == is_fused
    assert str(point) == (
        f"r3: 0.8900 ± 0.0040, 2.00x (2.00 to 2.00), 10.5 ms, 0.001 M MACs, 1 pooled{said}"
    )


def test_a_point_on_smaller_images_says_so(compared):
    point = compared.smaller[0]
    assert Point.from_json(json.loads(json.dumps(point.to_json()))) == point
    assert str(point).endswith(", 1.75x (1.75 to 1.75), 12 ms, 0.001 M MACs, images at scale 0.75")


def test_a_point_says_in_what_unit_its_score_is(frontier, tmp_path):
    assert frontier.unit == Unit("accuracy")  # guessed
    unit = Unit("mAP at 0.5", percent=False, decimals=3)
    points = tuple(replace(point, unit=unit) for point in frontier.points)
    assert str(points[3]).startswith("r3: 0.8900 ± 0.0040 mAP at 0.5, 2.00x")
    replace(frontier, points=points).save(tmp_path / "frontier.json")
    assert Frontier.load(tmp_path / "frontier.json").unit == unit


def test_a_frontier_from_before_there_was_fusing_still_loads(frontier, tmp_path):
    value = frontier.to_json()
    for point in value["points"]:
        for name in ("unfused", "fused", "half_resolution", "missing", "unit"):
            del point[name]
    del value["smaller"], value["missing"]
    (tmp_path / "frontier.json").write_text(json.dumps(value))
    assert Frontier.load(tmp_path / "frontier.json") == frontier
    assert frontier.half_resolution is None


def test_the_side_of_0_1_is_the_plans_image_scale(compared, tmp_path):
    value = compared.to_json()
    for point in [*value["points"], *value["smaller"]]:
        point["side"] = point["plan"].pop("image_scale", 1.0)
    (tmp_path / "frontier.json").write_text(json.dumps(value))
    assert Frontier.load(tmp_path / "frontier.json") == compared


def test_names_of_0_1_are_still_read(frontier, tmp_path):
    half = replace(
        frontier.points[1], half_resolution=_latency(3), missing={"half_resolution": "a"}
    )
    frontier = replace(frontier, points=(*frontier.points[:1], half))
    text = json.dumps(frontier.to_json()).replace("half_resolution", "half")
    (tmp_path / "frontier.json").write_text(text.replace("unfused", "as_written"))
    assert Frontier.load(tmp_path / "frontier.json") == frontier


@pytest.mark.parametrize("seed", range(60))
def test_whatever_becomes_of_a_file_it_is_refused_or_shown(compared, tmp_path, seed):
    rng, path = random.Random(seed), tmp_path / "frontier.json"
    compared.save(path)
    if seed % 3:
        path.write_text(rewritten(json.loads(path.read_text()), rng))
    else:
        path.write_bytes(garbled(path.read_bytes(), rng))
    with suppress(VirtualPoolError):
        found = Frontier.load(path)
        assert repr(found)
        assert found.pareto
        assert found.pick(max_drop=1e30) in found.points
        assert all(str(point) for point in (*found.points, *found.smaller))
        found.save(path)
        assert Frontier.load(path) == found


def test_half_is_that_of_the_last_point_that_has_one(frontier):
    halves = [_latency(3), _latency(3.5), _latency(4), None, None]
    points = [
        replace(point, half_resolution=half)
        for point, half in zip(frontier.points, halves, strict=True)
    ]
    half = replace(frontier, points=tuple(points)).half_resolution
    assert half is not None
    assert half.median == pytest.approx(4)


def test_restore(frontier, network, images, tmp_path):
    pooled = vp.apply(network, images, ["0"]).eval()
    pooled.get_parameter("0.weight").data.mul_(1.5)
    vp.save(pooled, tmp_path / "r1" / "model.safetensors")
    restored = frontier.restore(network, frontier.points[1]).eval()
    assert torch.equal(restored(images), pooled(images))
    assert torch.equal(frontier.restore(network, "r1").eval()(images), pooled(images))
    with pytest.raises(VirtualPoolError, match="No model is named 'r9'; there are original, r1"):
        frontier.restore(network, "r9")
    original = frontier.restore(network, frontier.original)
    assert original is not network
    assert torch.equal(original.eval()(images), network.eval()(images))
    with pytest.raises(VirtualPoolError, match=r"r2.*no such file"):
        frontier.restore(network, frontier.points[2])


def test_timed_measures_all_models_anew(frontier, network, images, tmp_path):
    vp.save(vp.apply(network, images, ["0"]), tmp_path / "r1" / "model.safetensors")
    vp.save(vp.apply(network, images, ["2"]), tmp_path / "r2" / "model.safetensors")
    original, r1, r2, *_ = frontier.points
    before = replace(
        frontier,
        points=(
            replace(original, half_resolution=_latency(3)),
            replace(r1, unfused=_latency(1.2), fused=r1.latency, half_resolution=_latency(3)),
            replace(r2, unfused=r2.latency, missing={"fused": "it has hooks"}),
        ),
    )
    after = before.timed(network, images[:1], repeats=2, dtype="float64")
    first, fused, written = after.points
    for point, old in zip(after.points, before.points, strict=True):
        assert point.latency.setting.dtype == "float64"
        assert len(point.latency.samples_ms) == 2
        assert point.baseline == first.latency
        assert point.speedup == point.latency.speedup_over(first.latency)
        assert point.half_resolution is None
        assert point.missing == {}
        assert (point.name, point.accuracy, point.plan) == (old.name, old.accuracy, old.plan)
    assert (first.fused, first.unfused) == (None, None)
    assert (fused.fused, fused.unfused) == (fused.latency, None)
    assert (written.fused, written.unfused) == (None, written.latency)
    assert after.pick(max_latency_ms=1e9).name == "r1"
    assert before.points[1].latency == r1.latency


def test_timed_measures_smaller_images_on_such(compared, network, images):
    seen = []
    network.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape)))
    after = replace(compared, points=compared.points[:1]).timed(network, images[:1], repeats=2)
    assert {(1, 3, 12, 12), (1, 3, 9, 9), (1, 3, 6, 6)} == {*seen}
    for point, old in zip(after.smaller, compared.smaller, strict=True):
        assert point.baseline == after.original.latency
        assert point.speedup == point.latency.speedup_over(point.baseline)
        assert (point.name, point.accuracy, point.plan) == (old.name, old.accuracy, old.plan)


def test_timed_names_the_model_that_is_not_there(frontier, network, images):
    with pytest.raises(VirtualPoolError, match=r"r1.*no such file"):
        frontier.timed(network, images[:1])


@pytest.mark.parametrize(
    ("suffix", "begin"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("PDF", b"%PDF")]
)
def test_plot(frontier, tmp_path, suffix, begin):
    path = tmp_path / "figures" / f"frontier.{suffix}"
    frontier.plot(path)
    assert path.read_bytes().startswith(begin)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_plot_shows_every_model(frontier, tmp_path, monkeypatch):
    import matplotlib

    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")
    unknown = replace(frontier.points[1], name="unsure", standard_error=None)
    replace(frontier, points=(*frontier.points, unknown)).plot(tmp_path / "frontier.svg")
    text = (tmp_path / "frontier.svg").read_text()
    for label in ("original", "r1, 1 pooled", "r4, 1 pooled", "unsure", "batch 1, 1 thread, eager"):
        assert label in text
    for label in ("half resolution", "ring: unfused"):
        assert label not in text


def test_plot_shows_what_fusing_gave_and_the_limit(frontier, tmp_path, monkeypatch):
    import matplotlib

    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")
    points = [
        replace(point, fused=point.latency, unfused=_latency(1.2), half_resolution=_latency(4))
        for point in frontier.points
    ]
    replace(frontier, points=tuple(points)).plot(tmp_path / "frontier.svg")
    text = (tmp_path / "frontier.svg").read_text()
    for label in ("half resolution", "ring: unfused, before fusing"):
        assert label in text


def test_plot_shows_smaller_images_as_a_second_line(frontier, compared, tmp_path, monkeypatch):
    import matplotlib

    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")
    labels = ("smaller-0.75", "smaller-0.5", "the original on smaller images, fine-tuned")
    for each, is_compared in ((frontier, False), (compared, True)):
        each.plot(tmp_path / "frontier.svg")
        text = (tmp_path / "frontier.svg").read_text()
        assert [label in text for label in labels] == [is_compared] * 3


@pytest.mark.parametrize("name", ["frontier.txt", "frontier"])
def test_plot_refuses_other_suffixes(frontier, tmp_path, name):
    with pytest.raises(VirtualPoolError, match=f"{name}: .* one of .*png.*svg"):
        frontier.plot(tmp_path / name)


def test_it_is_shown_as_a_table(compared):
    head, titles, *rows = repr(compared).splitlines()
    assert str(compared.directory) in head
    assert titles.split()[:2] == ["model", "accuracy,"]
    assert [row.split()[0] for row in rows] == [
        "original", "r1*", "r2", "r3*", "r4*", "smaller-0.75", "smaller-0.5",
    ]  # fmt: skip
    assert rows[1].split() == ["r1*", "91.0", "\N{MINUS SIGN}1.0", "14", "ms", "1.50x", "1", "0.0"]
    assert rows[-1].endswith(" 0 at scale 0.5    0.0")
