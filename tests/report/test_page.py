import re
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

from virtualpool import Cascade, VirtualPoolError, report
from virtualpool.cascade import Calibration, Times
from virtualpool.cascade.calibrating import Outcome
from virtualpool.files import read_json, write_json, write_text
from virtualpool.measure import Latency, Setting

MakeRun = Callable[..., Path]


def page_of(run: Path, path: Path | None = None) -> str:
    path = path or run / "report.html"
    report.write(run, path)
    return path.read_text(encoding="utf-8")


def test_a_finished_run_is_told_from_its_headline_to_its_command(make_run: MakeRun) -> None:
    page = page_of(make_run())
    for said in (
        "2.3× faster for 0.8 points of accuracy</h1>",
        "<span>&#39;model.py:my net&#39;</span> <span>--run-dir</span> <span>run</span></code>",
        "sample:cifar10",
        "Some &lt;Processor&gt;",
        "round-02/model.safetensors&#39;).eval()",
    ):
        assert said in page
    assert "not finished" not in page


@pytest.mark.parametrize(
    ("rounds", "without", "said", "sections"),
    [
        (
            1,
            (),
            "1 of 3 rounds are done",
            {"frontier", "models", "sensitivity", "training", "rounds"},
        ),
        (0, (), "0 of 3 rounds are done", {"frontier", "models", "sensitivity", "rounds"}),
        (0, ("rounds.json",), "the sensitivity of 9 of 9", {"frontier", "models", "sensitivity"}),
        (0, ("rounds.json", "sensitivity.json"), "just begun", {"frontier", "models"}),
        (0, ("rounds.json", "sensitivity.json", "round-00/point.json"), "just begun", set()),
        (2, (), "2 of 3 rounds", {"frontier", "models", "training", "rounds"}),
        (0, ("environment.json",), "not finished", {"frontier"}),
    ],
)
def test_an_unfinished_run_shows_what_there_is_and_says_so(
    make_run: MakeRun, rounds: int, without: tuple[str, ...], said: str, sections: set[str]
) -> None:
    page = page_of(make_run(rounds=rounds, without=without))
    assert said in page
    shown = set(re.findall(r'<section id="(\w+)">', page))
    assert sections <= shown
    if not sections:
        assert shown == {"made"}


def test_a_run_that_its_limit_ended_is_finished(make_run: MakeRun) -> None:
    run = make_run(rounds=2)
    path = run / "round-02" / "point.json"
    write_json(path, read_json(path) | {"over_limit": True})
    page = page_of(run)
    assert "not finished" not in page
    assert "over the limit, the last one" in page
    assert "left out" in page


def test_a_round_that_is_being_fine_tuned_says_how_far_it_is(make_run: MakeRun) -> None:
    run = make_run(rounds=1)
    write_text(
        run / "round-02" / "training.jsonl",
        '{"step": 0, "accuracy": 0.5}\n{"step": 40, "loss": 0.4}\n{"step": 50, "lo',
    )
    page = page_of(run)
    assert "fine-tuned for 40 steps so far" in page
    assert "to come" in page


def test_what_is_still_interpolated_is_told_and_why_a_model_is_unfused(
    make_run: MakeRun,
) -> None:
    page = page_of(make_run())
    fusing = page[page.index('id="fusing"') : page.index('id="sensitivity"')]
    assert re.findall("<dt>(.*)</dt>", fusing) == ["round 1", "round 3"]
    assert "It is unfused, for fused it is slower: 1.38x" in fusing
    assert "convs.7, convs.8: view in &lt;head&gt;, output need it in full" in fusing


def test_a_run_from_before_there_was_fusing_is_shown_unfused(make_run: MakeRun) -> None:
    run = make_run()
    for path in run.glob("round-*/point.json"):
        point = read_json(path)
        for name in ("unfused", "fused", "half_resolution", "missing", "unit"):
            del point[name]
        write_json(path, point)
    for path in run.glob("round-*/fusing.json"):
        path.unlink()
    page = page_of(run)
    assert re.findall("<strong>(.*)</strong>", page) == ["1.44×", "2.31×", "2.87×"]
    assert 'id="fusing"' not in page
    assert "Upright line" not in page
    assert "Rings" not in page


def test_a_score_is_named_and_written_in_its_unit(make_run: MakeRun) -> None:
    run = make_run()
    unit = {"name": "mAP at 0.5", "percent": False, "decimals": 3}
    for path in run.glob("round-*/point.json"):
        point = read_json(path)
        measures = {"voc": point["accuracy"], "coco": 0.4321}
        write_json(path, point | {"unit": unit, "metrics": measures})
    page = page_of(run)
    assert "2.3× faster for 0.008 mAP at 0.5</h1>" in page
    assert "accura" not in page
    assert "%" not in re.search("<tbody>.*?<small>", page, re.DOTALL).group()  # type: ignore
    models = page[page.index('id="models"') : page.index('id="fusing"')]
    assert re.findall('<th scope="col">(.*?)</th>', models)[2:4] == ["mAP at 0.5", "drop"]
    assert '<th scope="col">coco</th>' in models
    assert '<th scope="col">voc</th>' not in models
    assert "<td>0.879 <small>" in models
    assert "<td>0.432</td>" in models


def test_why_there_is_no_half_is_said(make_run: MakeRun) -> None:
    run = make_run()
    path = run / "round-00" / "point.json"
    missing = {"half_resolution": "Vit takes images of one size."}
    write_json(path, read_json(path) | {"half_resolution": None, "missing": missing})
    assert "Half resolution is not there: Vit takes images of one size." in page_of(run)


def test_a_busy_machine_is_said(make_run: MakeRun) -> None:
    run = make_run()
    assert "The machine was busy" not in page_of(run)
    path = run / "round-01" / "point.json"
    write_json(path, read_json(path) | {"speedup": {"median": 2.0, "lower": 1.5, "upper": 2.1}})
    assert "The machine was busy: the speed-ups of round 1 have quartiles" in page_of(run)


def test_a_cascade_in_the_run_directory_is_shown(make_run: MakeRun) -> None:
    run = make_run()
    assert 'id="cascade"' not in page_of(run)
    rule = Calibration(1.0, 0.4, 0.01, 0.01, 0.95, True, Outcome(1000, 0.75, 2, 1))
    setting = Setting("cpu", "A processor", "float32", 2, 2, "eager", True, "2.9.0")
    times = [Times(Latency((fast,), setting), Latency((8.0,), setting)) for fast in (2.0, 3.0)]
    Cascade(nn.Linear(2, 2), nn.Linear(2, 2), rule, times).save(run / "sure")
    page = page_of(run)
    section = page[page.index('id="cascade"') : page.index('id="fusing"')]
    cells = [re.sub("<.*?>", "", each) for each in re.findall("<t[dh].*?>(.*?)</t", section)][10:]
    assert cells == [
        "sure", "1.00% with 95% confidence", "75% of 1,000 images", "0.10%",
        "2", "8.00\xa0ms", "2.00\xa0ms", "4.00\xa0ms", "10.0\xa0ms", "2.00×",
        "", "", "", "",
        "2", "8.00\xa0ms", "3.00\xa0ms", "5.00\xa0ms", "11.0\xa0ms", "1.60×",
    ]  # fmt: skip


def test_smaller_images_are_beside_the_models(make_run: MakeRun) -> None:
    assert 'id="comparison"' not in page_of(make_run())
    page = page_of(make_run(smaller=3))
    assert "not finished" not in page
    comparison = page[page.index('id="comparison"') : page.index('id="fusing"')]
    rows = ["smaller 0.75", "smaller 0.625", "smaller 0.5"]
    assert re.findall('<th scope="row">(.*?)</th>', comparison) == rows
    assert re.findall('href="(.*?)"', comparison)[0] == "smaller-0.75/model.safetensors"
    assert "<td>1.70× <small>1.70 to 1.70</small>" in comparison
    assert "At equal measured speed (1.70× to 2.87×, read off straight lines" in comparison
    models = page[page.index('id="models"') : page.index('id="comparison"')]
    assert "smaller" not in models
    assert "the original on smaller images, fine-tuned for as long." in page
    assert page.count('class="smaller"') == 2  # wide and narrow


def test_an_unfinished_comparison_says_so(make_run: MakeRun) -> None:
    run = make_run(smaller=1)
    page = page_of(run)
    assert "its rounds are done, its comparison with smaller images is not" in page
    assert '<th scope="row">smaller 0.75</th>' in page
    for name in ("smaller-0.625", "smaller-0.5"):
        write_json(run / name / "missing.json", f"Vit takes {name} not, for <it> is of one size.")
    page = page_of(run)
    assert "not finished" not in page
    assert "smaller 0.5 is not there: Vit takes smaller-0.5 not, for &lt;it&gt; is of" in page
    assert "At equal measured speed (1.70×, read off" in page


def test_a_comparison_without_models_says_why(make_run: MakeRun) -> None:
    run = make_run(smaller=0)
    for name in ("smaller-0.75", "smaller-0.625", "smaller-0.5"):
        write_json(run / name / "missing.json", "one size")
    page = page_of(run)
    assert "The model takes no smaller images" in page
    assert "smaller 0.75 is not there: one size" in page
    assert 'class="smaller"' not in page
    (run / "round-01" / "point.json").unlink()
    for name in ("round-02", "round-03"):
        (run / name / "point.json").unlink()
    assert 'id="comparison"' not in page_of(run)


def test_what_comes_from_outside_is_escaped(make_run: MakeRun) -> None:
    evil = "<script>alert('x')</script>"
    run = make_run(settings={"model": evil, "data": evil}, sites=[evil])
    write_json(run / "rounds.json", [[evil]])
    page = page_of(run)
    assert evil not in page
    assert "&lt;script&gt;" in page


def test_links_to_models_are_relative_to_the_page(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    assert 'href="round-01/model.safetensors"' in page_of(run)
    elsewhere = page_of(run, tmp_path / "my pages" / "report.html")
    assert 'href="../run/round-01/model.safetensors"' in elsewhere


def test_the_same_run_gives_the_same_page(make_run: MakeRun) -> None:
    run = make_run()
    assert page_of(run) == page_of(run)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VirtualPoolError, match="no run lives here"):
        report.write(tmp_path, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("file", ["round-01/point.json", "sensitivity.json", "config.json"])
def test_a_broken_file_of_a_run_is_named(make_run: MakeRun, file: str) -> None:
    run = make_run()
    (run / file).write_text("{", encoding="utf-8")
    with pytest.raises(VirtualPoolError, match=file):
        report.write(run, run / "report.html")
