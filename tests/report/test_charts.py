import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from virtualpool.report import charts, svg
from virtualpool.report.charts import Bar, Curve, Dot
from virtualpool.search import Unit

ACCURACY, SCORE = Unit("accuracy"), Unit("score", percent=False)
MAP = Unit("mAP at 0.5", percent=False, decimals=3)


def parsed(figure: str) -> ElementTree.Element:
    return ElementTree.fromstring(figure)


def named(root: ElementTree.Element, class_: str) -> list[ElementTree.Element]:
    return [item for item in root.iter() if class_ in item.get("class", "").split()]


def dots(count: int) -> list[Dot]:
    first = [Dot("original", 1.0, (1.0, 1.0), 88.0, 1.0, pareto=True)]
    rest = [
        Dot(f"round {i}", 1 + i / 9, (1 + i / 10, 1 + i / 8), 88 - i / 5, 1.0, pareto=i % 3 > 0)
        for i in range(1, count)
    ]
    return first + rest


@pytest.mark.parametrize("width", [350, 940])
@pytest.mark.parametrize("count", [1, 4, 17])
def test_the_frontier_marks_and_names_every_model(count: int, width: float) -> None:
    root = parsed(charts.frontier(dots(count), width, ACCURACY))
    assert len(named(root, "dot")) == count
    assert len(named(root, "dominated")) == sum(not dot.pareto for dot in dots(count))
    labels = [dot.label for dot in dots(count)]
    if (count, width) == (17, 350):  # too many for whole names on a phone
        labels = [label.split()[-1] for label in labels]
    assert [item.text for item in named(root, "name")] == labels
    (line,) = named(root, "pareto")
    assert len(line.get("points", "").split()) == sum(dot.pareto for dot in dots(count))


def test_what_a_model_was_before_fusing_and_the_limit_are_marked() -> None:
    original, first, second = dots(3)
    fused = replace(second, unfused=1.05)
    root = parsed(charts.frontier([original, first, fused], 940, SCORE, half_resolution=1.5))
    (ring,) = named(root, "written")
    own = named(root, "dot")[2]
    assert float(ring.get("cx", 0)) < float(own.get("cx", 0))
    assert ring.get("cy") == own.get("cy")
    assert ring.findtext("title") == "round 2, unfused: 1.05×"
    (limit,) = named(root, "half-resolution")
    assert limit.get("x1") == limit.get("x2")
    assert float(limit.get("x1", 0)) > float(own.get("cx", 0))
    assert [item.text for item in named(root, "limit")] == ["half resolution"]
    said = root.findtext("desc")
    assert said is not None
    assert said.endswith("round 2: 1.22x (unfused 1.05x), 87.6; half resolution: 1.50x")


def test_smaller_images_have_a_line_of_their_own() -> None:
    smaller = [
        Dot("smaller 0.75", 1.7, (1.6, 1.8), 87.5, 1.0, pareto=True, on_smaller=True),
        Dot("smaller 0.5", 3.5, (3.4, 3.6), 70.0, 1.0, pareto=True, on_smaller=True),
    ]
    root = parsed(charts.frontier(dots(3), 940, SCORE, smaller=smaller))
    assert [len(named(root, kind)) for kind in ("dot", "pareto", "smaller")] == [5, 1, 1]
    (line,) = named(root, "smaller")
    marked = [group.find("circle") for group in named(root, "model") if "on-smaller" in
              group.get("class", "")]  # fmt: skip
    ends = [f"{circle.get('cx')},{circle.get('cy')}" for circle in marked if circle is not None]
    assert line.get("points", "").split() == ends
    names = [item.text for item in named(root, "name") if "on-smaller" in item.get("class", "")]
    assert names == ["smaller 0.75", "smaller 0.5"]
    assert root.findtext("desc", "").endswith("smaller 0.75: 1.70x, 87.5; smaller 0.5: 3.50x, 70.0")
    assert not named(parsed(charts.frontier(dots(3), 940, SCORE)), "smaller")


def test_better_models_are_higher_and_faster_ones_to_the_right() -> None:
    root = parsed(charts.frontier(dots(2), 940, SCORE))
    original, faster = named(root, "dot")
    assert float(original.get("cy", 0)) < float(faster.get("cy", 0))
    assert float(original.get("cx", 0)) < float(faster.get("cx", 0))


def test_names_on_the_frontier_do_not_cover_each_other() -> None:
    crowd = [Dot(f"round {i}", 2.0, (2.0, 2.0), 88.0 + i / 1e3, None) for i in range(4)]
    spread = [Dot("original", 1.0, (1.0, 1.0), 89.0, None), Dot("far", 3.0, (3, 3), 80.0, None)]
    root = parsed(charts.frontier(spread + crowd, 940, SCORE))
    places = [(float(item.get("x", 0)), float(item.get("y", 0))) for item in named(root, "name")]
    for index, (x, y) in enumerate(places):
        for other_x, other_y in places[index + 1 :]:
            assert abs(x - other_x) > 40 or abs(y - other_y) > 12


def test_sensitivity_bars_are_in_order_from_zero_and_marked_before_a_pool() -> None:
    bars = [
        Bar("late <site>", 4.0, 1.0, before_pool=True),
        Bar("better", -2.0, None, before_pool=False),
        Bar("none", 0.0, None, before_pool=False),
    ]
    root = parsed(charts.sensitivity(bars, 940, ACCURACY))
    rectangles = named(root, "bar")
    widths = [float(item.get("width", 0)) for item in rectangles]
    assert widths[0] == pytest.approx(2 * widths[1], abs=0.05)
    assert widths[2] == 0
    zero = float(named(root, "zero")[0].get("x1", 0))
    assert float(rectangles[0].get("x", 0)) == pytest.approx(zero, abs=0.02)
    assert float(rectangles[1].get("x", 0)) + widths[1] == pytest.approx(zero, abs=0.02)
    assert ["before-pool" in item.get("class", "") for item in rectangles] == [True, False, False]
    assert [item.text for item in named(root, "site")] == [bar.site for bar in bars]
    assert root.findtext(".//title") == "late <site>, before a pooling layer: 4.0 ± 1.0 (points)"


def test_sensitivity_draws_the_recoverable_drop_below_the_drop() -> None:
    bars = [
        Bar("a", 4.0, 1.0, before_pool=True, recoverable=1.0, recoverable_error=0.5),
        Bar("b", 2.0, None, before_pool=False, recoverable=0.5),
        Bar("c", 2.0, None, before_pool=False),
    ]
    root = parsed(charts.sensitivity(bars, 940, ACCURACY))
    rectangles = named(root, "bar")
    pale = ["before-recovery" in item.get("class", "") for item in rectangles]
    assert pale == [True, False, True, False, False]
    widths = [float(item.get("width", 0)) for item in rectangles]
    assert widths[0] == pytest.approx(4 * widths[1], abs=0.05)
    tops = [float(item.get("y", 0)) for item in rectangles]
    assert tops[1] == tops[0] + float(rectangles[0].get("height", 0))
    assert len(named(root, "before-pool")) == 2
    assert root.findtext("desc") == (
        "a: 4.0 ± 1.0, recoverable drop 1.0 ± 0.5; b: 2.0, recoverable drop 0.5; c: 2.0"
    )
    assert root.findtext(".//title") == (
        "a, before a pooling layer: 4.0 ± 1.0, recoverable drop 1.0 ± 0.5 (points)"
    )


def test_numbers_are_written_in_their_unit() -> None:
    original = Dot("original", 1.0, (1.0, 1.0), 0.7132, 0.01)
    root = parsed(charts.frontier([original, replace(original, score=0.7)], 940, MAP))
    assert root.get("aria-label") == "mAP at 0.5 against measured speed"
    assert root.findtext("desc") == "original: 1.00x, 0.713; original: 1.00x, 0.700"
    assert "mAP at 0.5" in [item.text for item in named(root, "axis")]
    root = parsed(charts.sensitivity([Bar("a", 0.0242, 0.01, before_pool=False)], 940, MAP))
    assert root.findtext(".//title") == "a: 0.024 ± 0.010"
    assert "mAP at 0.5 lost" in [item.text for item in named(root, "axis")]


def test_long_names_of_sites_are_cut_at_their_beginning() -> None:
    name = "backbone." * 12 + "conv2"
    figure = charts.sensitivity([Bar(name, 1.0, None, before_pool=False)], 350, SCORE)
    (shown,) = named(parsed(figure), "site")
    assert shown.text is not None
    assert re.fullmatch(r"….*conv2", shown.text)
    assert len(shown.text) <= 20
    assert name in figure  # whole in its title


def test_curves_have_a_line_each_and_one_for_the_original() -> None:
    lines = [
        Curve("round 1", ((0, -6.0), (50, -1.0))),
        Curve("round 2", ((0, -9.0), (50, -4.0), (90, -2.0))),
    ]
    root = parsed(charts.curves(lines, 450, "accuracy", zero=True))
    drawn = named(root, "curve")
    assert [len(item.get("points", "").split()) for item in drawn] == [2, 3]
    assert len(named(root, "original")) == 1
    assert not named(parsed(charts.curves(lines, 450, "loss")), "original")


def test_a_curve_of_one_record_is_a_point() -> None:
    root = parsed(charts.curves([Curve("round 1", ((10, 0.5),))], 450, "loss"))
    assert len(named(root, "end")) == 2


@pytest.mark.parametrize("values", [[1.0], [3.0, 3.0], [-0.4, 0.0001], [0.0, 1e6], [-5.0, -4.99]])
def test_scales_enclose_their_values_and_tick_inside(values: list[float]) -> None:
    scale = svg.scale(values, 0, 100)
    assert scale.low <= min(values) <= max(values) <= scale.high
    assert scale(scale.low) == 0
    assert scale(scale.high) == pytest.approx(100)
    assert 2 <= len(scale.ticks) <= 8
    tight = svg.scale(values, 0, 100, tight=True)
    assert all(tight.low <= tick <= tight.high for tick in tight.ticks)
