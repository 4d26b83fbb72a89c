"""`virtualpool detect`, in this process, and the pictures of a run of a detector."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tests.tasks.detection.tiny import tiny_detector

import virtualpool as vp
from virtualpool.cli.user_code import network_from
from virtualpool.tasks.detection.images import decoded

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pooled file of the tiny detector."""
    path = tmp_path_factory.mktemp("pooled") / "fast.safetensors"
    images = [torch.rand(3, 30, 40)]
    vp.save(vp.fuse(vp.apply(tiny_detector().eval(), images, ["backbone.0"]), images), path)
    return path


@pytest.fixture(scope="module")
def finished(detector: str, boxes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the tiny detector."""
    from typer.testing import CliRunner

    from virtualpool.cli import app

    run_dir = tmp_path_factory.mktemp("runs") / "run"
    weights = run_dir.parent / "weights.pt"
    torch.save(tiny_detector().state_dict(), weights)
    options = ["--data", boxes, "--weights", weights, "--run-dir", run_dir, "--sizes", "1,1"]
    options += ["--recover", "none", "--repeats", "1", "--threads", "1", "--workers", "0"]
    options += ["--task", "detection", "--device", "cpu"]
    result = CliRunner().invoke(app, ["tune", detector, *map(str, options)])
    assert result.exit_code == 0, result.output
    assert "mAP at 0.5" in result.stdout
    assert "accuracy" not in result.stdout
    return run_dir


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory, network: Path, finished: Path) -> Path:
    """A folder of useless files."""
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "empty").mkdir()
    (folder / "text.jpg").write_bytes(b"no image")
    (folder / "classes").mkdir()
    config = json.loads((finished / "config.json").read_text())
    del config["settings"]["task"]
    (folder / "classes" / "config.json").write_text(json.dumps(config))
    torch.save({n: 2 * x for n, x in tiny_detector().state_dict().items()}, folder / "other.pt")
    images = torch.rand(1, 3, 16, 16)
    classifier = network_from(network, "tiny")
    vp.save(vp.apply(classifier, images, ["0"]), folder / "classifier.safetensors")
    return folder


def test_pick_exports_a_detector_beside_the_original_with_its_weights(
    run: Run, finished: Path
) -> None:
    said = run("pick", finished, "--point", "round-01").stdout
    assert f"--weights {finished.parent / 'weights.pt'}" in said


def test_an_exported_detector_asks_for_the_weights_of_the_original(
    run: Run, detector: str, fast: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export(*_: Any, **__: Any) -> None:
        raise vp.VirtualPoolError("enough")

    monkeypatch.setattr(vp, "export", export)
    asked = ["export", detector, fast, "--output", tmp_path / "net.onnx"]
    assert "so give its --weights" in run(*asked).stderr
    assert "so give its --weights" not in run(*asked, "--part", "backbone").stderr


def test_each_image_gives_a_picture_and_a_row(
    run: Run, detector: str, fast: Path, boxes: Path, tmp_path: Path
) -> None:
    output = tmp_path / "pictures"
    result = run(
        *["detect", detector, fast, "--data", boxes, "--output", output],
        *["--min-score", "0", "--device", "cpu"],
    )
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["image", "marked", "original", "fast.safetensors", "both"]
    assert [line[0] for line in lines[1:5]] == ["e.jpg", "f.jpg", "g.jpg", "all"]
    assert [line[1] for line in lines[1:5]] == ["1", "1", "1", "3"]
    assert [int(total) for total in lines[4][1:]] == [
        sum(int(line[column]) for line in lines[1:4]) for column in range(1, 5)
    ]
    assert sorted(path.name for path in output.iterdir()) == ["e.jpg", "f.jpg", "g.jpg"]
    with Image.open(output / "e.jpg") as picture:
        assert picture.format == "JPEG"
        assert picture.width > 2 * 480


def test_the_boxes_as_json_are_those_of_both_models(
    as_json: Run, detector: str, fast: Path, boxes: Path, tmp_path: Path
) -> None:
    options = ["--data", boxes, "--output", tmp_path, "--min-score", "0", "--limit", "1"]
    found = as_json("detect", detector, fast, *options, "--device", "cpu")
    assert found["models"] == ["original", "fast.safetensors"]
    [image] = found["images"]
    pixels = decoded(Path(image["image"]))
    for name, model in (
        ("original", tiny_detector().eval()),
        ("pooled", vp.load(tiny_detector(), fast).eval()),
    ):
        with torch.no_grad():
            [expected] = model([pixels])
        assert [each["score"] for each in image[name]] == pytest.approx(expected["scores"].tolist())
        assert {each["class"] for each in image[name]} == {"square"}
        torch.testing.assert_close(
            torch.tensor([each["box"] for each in image[name]]), expected["boxes"]
        )


def test_images_without_marks_and_two_of_one_name(
    as_json: Run, run: Run, detector: str, fast: Path, tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (40, 30)).save(tmp_path / folder / "one.png")
    (tmp_path / "a" / "notes.txt").write_text("no image")
    (tmp_path / "a" / "broken.jpg").write_bytes(b"no image either")
    options = ["--data", tmp_path / "a", "--data", tmp_path / "b" / "one.png", "--output"]
    asked = ["detect", detector, fast, *options, tmp_path / "out", "--min-score", "0"]
    found = as_json(*asked)
    pictures = [Path(image["picture"]).name for image in found["images"]]
    assert pictures == ["one.jpg", "one-2.jpg"]
    assert [image["marked"] for image in found["images"]] == [0, 0]
    assert {each["class"] for each in found["images"][0]["original"]} == {"class 1"}
    said = run(*asked, "--limit", "2").stderr
    assert "broken.jpg cannot be read and is skipped" in said
    assert "The first 2 of 3 images; see --limit." in said


def test_a_run_knows_its_network_weights_and_data(
    as_json: Run, finished: Path, tmp_path: Path
) -> None:
    found = as_json("detect", "--run-dir", finished, "--output", tmp_path, "--min-score", "0")
    assert found["models"][0] == "original"
    assert found["models"][1] in ("round-01", "round-02")
    assert [image["marked"] for image in found["images"]] == [1, 1, 1]
    named = as_json(
        *["detect", "--run-dir", finished, "--point", "round-01", "--output", tmp_path],
        *["--data", found["images"][0]["image"], "--min-score", "0"],
    )
    assert named["models"] == ["original", "round-01"]
    assert {each["class"] for each in named["images"][0]["original"]} == {"square"}


@pytest.fixture
def moved(finished: Path, detector: str, boxes: Path, tmp_path: Path) -> Path:
    """The run, as if all that it names had been named from another folder."""
    file, _, function = detector.rpartition(":")
    here = tmp_path / "here"
    here.mkdir()
    shutil.copytree(boxes, here / "boxes")
    shutil.copytree(finished, here / "run")
    shutil.copy(file, here / "detector.py")
    shutil.copy(finished.parent / "weights.pt", here)
    config = json.loads((here / "run" / "config.json").read_text())
    config["settings"] |= {
        "model": f"detector.py:{function}",
        "weights": "weights.pt",
        "data": "boxes",
    }
    (here / "run" / "config.json").write_text(json.dumps(config))
    environment = json.loads((here / "run" / "environment.json").read_text())
    environment["directory"] = str(here)
    (here / "run" / "environment.json").write_text(json.dumps(environment))
    return here


def test_a_run_is_known_from_another_folder(as_json: Run, moved: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    found = as_json("detect", "--run-dir", moved / "run", "--output", output, "--min-score", "0")
    assert [image["marked"] for image in found["images"]] == [1, 1, 1]


def test_what_a_run_names_is_to_be_named_anew_where_it_is_gone(
    refused: Run, as_json: Run, moved: Path, tmp_path: Path
) -> None:
    (moved / "weights.pt").rename(tmp_path / "elsewhere.pt")
    asked = ["detect", "--run-dir", moved / "run", "--output", tmp_path / "out"]
    assert "Give the model and --weights if they are elsewhere now" in refused(*asked)
    found = as_json(*asked, "--weights", tmp_path / "elsewhere.pt", "--min-score", "0")
    assert len(found["images"]) == 3


def test_the_report_shows_what_both_models_find(finished: Path) -> None:
    drawn = json.loads((finished / "pictures.json").read_text())
    assert len(drawn["rows"]) == 3
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert page.count('<img src="data:image/webp;base64,') == 6
    assert "e.jpg: " in page
    assert "mAP at 0.5" in page
    assert "accura" not in page


def test_pictures_that_are_there_are_not_drawn_again(
    run: Run, detector: str, boxes: Path, finished: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(finished, run_dir)
    drawn = '{"title": "Boxes", "caption": "", "rows": []}'
    (run_dir / "pictures.json").write_text(drawn)
    options = ["--data", boxes, "--weights", finished.parent / "weights.pt", "--sizes", "1,1"]
    options += ["--recover", "none", "--repeats", "1", "--threads", "1", "--workers", "0"]
    result = run(
        "tune", detector, "--task", "detection", "--device", "cpu", "--run-dir", run_dir, *options
    )
    assert result.exit_code == 0, result.output
    assert (run_dir / "pictures.json").read_text() == drawn
    assert "<img" not in (run_dir / "report.html").read_text(encoding="utf-8")
    said = run("pick", run_dir, "--max-drop", "1").stdout
    assert " mAP at 0.5, " in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give MODEL and FILE"),
        (["{detector}"], "give MODEL and FILE"),
        (["{detector}", "{fast}"], "give --data"),
        (["{detector}", "{fast}", "--run-dir", "{run}"], "not both"),
        (["{detector}", "{fast}", "--point", "round-01"], "--point names a model of a run"),
    ],
)
def test_wrong_usage(
    run: Run,
    detector: str,
    fast: Path,
    finished: Path,
    tmp_path: Path,
    arguments: list[str],
    said: str,
) -> None:
    places = {"detector": detector, "fast": fast, "run": finished}
    result = run("detect", *(each.format(**places) for each in arguments), "--output", tmp_path)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{detector}", "{fast}", "--data", "{tmp}/none"], "none: no such file or folder"),
        (["{detector}", "{fast}", "--data", "{tmp}/empty"], "or one without images"),
        (["{detector}", "{fast}", "--data", "{tmp}/text.jpg"], "None of the images can be read"),
        (["{detector}", "{tmp}/gone.safetensors", "--data", "{boxes}"], "there is no such file"),
        (
            ["{network}:tiny", "{tmp}/classifier.safetensors", "--data", "{boxes}"],
            "cannot be called with a list of",
        ),
        (["--run-dir", "{tmp}"], "no run lives here"),
        (["--run-dir", "{tmp}/classes"], "give such a run, or a detector and a pooled file of it"),
        (["--run-dir", "{run}", "--point", "round-07"], "no such model; the nearest are round-0"),
        (["--weights", "{tmp}/other.pt", "--run-dir", "{run}"], "was made with other weights"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    refused: Run,
    detector: str,
    network: Path,
    fast: Path,
    finished: Path,
    boxes: Path,
    wrong: Path,
    arguments: list[str],
    said: str,
) -> None:
    places = {"detector": detector, "network": network, "fast": fast, "run": finished}
    filled = [each.format(**places, boxes=boxes, tmp=wrong) for each in arguments]
    assert said in refused("detect", *filled, "--output", wrong / "out", "--device", "cpu")


def test_pictures_never_take_the_place_of_the_images(
    refused: Run, detector: str, fast: Path, tmp_path: Path
) -> None:
    image = tmp_path / "one.jpg"
    Image.new("RGB", (40, 30)).save(image)
    before = image.read_bytes()
    asked = ["detect", detector, fast, "--data", image, "--output"]
    assert "one.jpg is one of the images" in refused(*asked, tmp_path)
    assert image.read_bytes() == before
    assert "is a file; give a folder" in refused(*asked, image)


def test_an_unfinished_run_says_so(refused: Run, run: Run, finished: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(finished, run_dir)
    (run_dir / "round-02" / "point.json").unlink()
    asked = ["detect", "--run-dir", run_dir, "--output", tmp_path, "--limit", "1"]
    assert "is not finished: round-01 is its best so far" in run(*asked).stderr
    (run_dir / "round-01" / "point.json").unlink()
    assert "no round is done yet" in refused(*asked)
