from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from virtualpool import report
from virtualpool.files import read_json, write_json
from virtualpool.measure import Energy, Sensor, Setting
from virtualpool.report.energy import Mark, energy, unbeaten
from virtualpool.search import Point

SETTING = Setting("cpu", "A processor", "float32", 1, 2, "eager", True, "2.9.0")
ORIGINAL = Energy(
    {"package-0": (4.0, 4.2, 4.4)}, (1.0, 1.0, 1.0), (10, 10, 10), 1.0,
    Sensor("RAPL", "joules", 0.001), SETTING,
)  # fmt: skip


def part(share: float) -> Energy:
    """The energy of a model that takes so much of the original's."""
    return replace(ORIGINAL, images=tuple(round(it / share) for it in ORIGINAL.images))


def marks() -> list[Mark]:
    return [
        Mark("original", 0.42, (0.40, 0.44), 88.7, 1.0),
        Mark("round 1", 0.30, (0.29, 0.31), 88.0, 1.0),
        Mark("round 2", 0.32, (0.31, 0.33), 87.0, None),
        Mark("round 3", 0.20, (0.19, 0.21), 86.0, 1.0, picked=True),
    ]


def named(root: ElementTree.Element, class_: str) -> list[ElementTree.Element]:
    return [item for item in root.iter() if class_ in item.get("class", "").split()]


@pytest.mark.parametrize("width", [350, 940])
def test_the_figure_marks_and_names_every_model(width: float) -> None:
    root = ElementTree.fromstring(energy(marks(), width, "accuracy (%)"))
    dots = named(root, "dot")
    assert ["dominated" in dot.get("class", "") for dot in dots] == [False, False, True, False]
    across = [float(dot.get("cx", 0)) for dot in dots]
    assert sorted(across, reverse=True) == [across[0], across[2], across[1], across[3]]
    assert [item.text for item in named(root, "name")] == [mark.label for mark in marks()]
    assert [item.text for item in named(root, "axis")] == [
        "accuracy (%)", "joules per image, measured",
    ]  # fmt: skip
    (line,) = named(root, "pareto")
    assert len(line.get("points", "").split()) == 3
    assert root.findtext("desc", "").startswith("original: 0.42 J, 88.7; round 1: 0.3 J, 88;")


@pytest.mark.parametrize(
    ("models", "best"),
    [
        ([(1.0, 80)], [0]),
        ([(1.0, 80), (1.0, 81)], [1]),
        ([(1.0, 80), (2.0, 80)], [0]),
        ([(3.0, 90), (1.0, 70), (2.0, 80), (2.5, 75)], [1, 2, 0]),
    ],
)
def test_models_that_no_other_one_beats(models: list[tuple[float, float]], best: list[int]) -> None:
    made = [
        Mark(str(index), joules, (joules, joules), score, None)
        for index, (joules, score) in enumerate(models)
    ]
    assert [int(mark.label) for mark in unbeaten(made)] == best


def with_energy(run: Path) -> Path:
    shares = (1.0, 0.8, 0.5, 0.25)
    for path, share in zip(sorted(run.glob("round-*/point.json")), shares, strict=True):
        point = replace(
            Point.from_json(read_json(path)), energy=part(share), energy_baseline=ORIGINAL
        )
        write_json(path, point.to_json())
    return run


def page_of(run: Path) -> str:
    report.write(run, run / "report.html")
    return (run / "report.html").read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")


def test_the_page_has_the_figure_and_a_column(make_run) -> None:
    page = page_of(with_energy(make_run()))
    for said in (
        '<section id="energy">',
        '<th scope="col">energy</th>',
        "0.320 J <small>0.310 to 0.330</small> <small></small>",  # idle power subtracted
        "0.160 J <small>0.155 to 0.165</small> <small>50%</small>",
        "3 runs of 1.0 s, 1.0 W when idle subtracted; RAPL: package-0; 4.2 W for the original",
    ):
        assert said in page


def test_a_run_without_energy_has_none(make_run) -> None:
    page = page_of(make_run())
    assert 'id="energy"' not in page
    assert '<th scope="col">energy</th>' not in page


def test_why_there_is_none_is_said(make_run) -> None:
    run = make_run()
    path = run / "round-00" / "point.json"
    write_json(path, read_json(path) | {"missing": {"energy": "No energy sensor for cpu."}})
    page = page_of(run)
    assert "It is not measured: No energy sensor for cpu." in page
    assert '<th scope="col">energy</th>' not in page
