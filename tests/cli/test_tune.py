"""`virtualpool tune` and the commands after it, in this process."""

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.search.planning.made import latency

import virtualpool
from virtualpool.cli.network import load_network
from virtualpool.search import read_records
from virtualpool.search.planning import trials
from virtualpool.search.run import forms, models

Run = Callable[..., Any]


def test_a_run_from_its_command_to_the_picked_file(
    run: Run, as_json: Run, refused: Run, tune_options: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    asked = [*tune_options, "--run-dir", folder, "--sizes", "2,1", "--learning-rate", "0.01,0.001"]
    result = run(*asked)
    assert result.exit_code == 0, result.output
    for said in (
        "original",
        "round-02",
        "speed-up",
        "half resolution: ",
        "round-02/model.safetensors",
        f"Report: {folder}/report.html",
    ):
        assert said in result.stdout
    table = result.stdout[: result.stdout.index("* no other model")]
    assert max(map(len, table.splitlines())) <= 80
    wide = run(*asked, "--wide").stdout.splitlines()[0].split("  ")
    assert {"latency", "quartiles", "unfused", "fused", "half resolution", "MMACs"} <= {
        each.strip() for each in wide
    }
    assert "round-01: 2 sites fused; 0 maps are still interpolated" in result.stderr
    assert "cpu" in result.stdout.splitlines()[-4]
    assert result.stdout.splitlines()[-1].startswith("Pick a model: virtualpool pick ")
    assert "faster" in (folder / "report.html").read_text(encoding="utf-8")

    # The same command again does nothing anew.
    found = as_json(*asked)
    assert found["points"] == json.loads((folder / "frontier.json").read_text())["points"]
    assert [len(point["plan"]["sites"]) for point in found["points"]] == [0, 2, 3]
    assert found["report"] == str(folder / "report.html")

    config = json.loads((folder / "config.json").read_text())
    assert config["learning_rates"] == [0.01, 0.001]
    assert config["finetune"] == ["by_reconstruction", "by_distillation"]
    assert config["settings"]["images"]["size"] == 16
    said = refused(*asked, "--optimizer", "adamw")
    assert "optimizer" in said


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock by which each site saves time: a network this small may be slower pooled."""
    for module in (trials, forms, models):
        monkeypatch.setattr(module, "latency", latency)


@pytest.mark.usefixtures("quick")
def test_a_target_is_searched_for_where_no_rounds_are_asked_for(
    run: Run, as_json: Run, refused: Run, tune_options: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    asked = [*tune_options, "--run-dir", folder, "--points", "2", "--image-scales", ".5"]
    result = run(*asked, "--budget", "1h")
    assert result.exit_code == 0, result.output
    assert "to do: try up to 16 plans of 3 sites, images at scale 0.5" in result.stderr
    assert "a plan takes about" in result.stderr
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Why these plans" in page
    assert "not finished" not in page

    found = as_json(*asked)  # nothing anew, and another budget is none of its settings
    assert 2 <= len(found["points"]) <= 3
    assert all(point["weights"] for point in found["points"][1:])
    config = json.loads((folder / "config.json").read_text())
    assert config["finetune"] == ["by_reconstruction", "by_distillation"]
    assert as_json("pick", folder, "--max-drop", "1")["name"].startswith("round-")
    assert "made for 2 models" in refused(*asked, "--min-speedup", "1.1")
    assert "made with evaluate" in refused(*asked, "--no-labels")
    assert "is no time" in refused(*asked, "--budget", "soon")
    assert "A target has one bound" in refused(*asked, "--min-speedup", "2", "--max-drop", "0.1")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--points", "2", "--rounds", "3"], "--points is for a target, and --rounds for rounds"),
        (["--budget", "2h", "--compare", "smaller-images"], "and --compare for rounds"),
        (["--min-speedup", "2", "--recoverable"], "and --recoverable for rounds"),
        ([], "--recover none: a target reconstructs its networks. Give --rounds 3"),
        (["--points", "0"], "--points"),
    ],
)
def test_wrong_usage_of_a_target(
    run: Run, untrained_options: list[str], tmp_path: Path, options: list[str], said: str
) -> None:
    result = run(*untrained_options, "--run-dir", tmp_path / "run", *options)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", "").split())
    assert not (tmp_path / "run").exists()


def test_a_run_compares_with_smaller_images(
    run: Run, as_json: Run, refused: Run, tune_options: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    asked = [*tune_options, "--run-dir", folder, "--sizes", "2,1", "--compare", "smaller-images"]
    result = run(*asked)
    assert result.exit_code == 0, result.output
    for name in ("smaller-0.75", "smaller-0.625", "smaller-0.5"):
        assert f"{name}/model.safetensors" in result.stdout
        assert f"{name}, as in round-02: recovery by " in result.stderr
    assert "speed" in result.stdout.splitlines()[-5]  # who is ahead, or that none can be
    assert '<section id="comparison">' in (folder / "report.html").read_text(encoding="utf-8")

    found = as_json(*asked)
    assert [point["plan"]["image_scale"] for point in found["smaller"]] == [0.75, 0.625, 0.5]
    assert found["missing"] == {}
    assert "image_scale" not in as_json("pick", folder, "--max-drop", "1")["plan"]
    network = load_network(tune_options[1]).module
    weights = folder / "smaller-0.5" / "model.safetensors"
    network.load_state_dict(load_file(weights))
    said = refused(*tune_options, "--run-dir", folder, "--sizes", "2,1")
    assert 'made with compare "smaller-images", now null' in said


def test_a_network_of_one_size_is_not_compared(
    run: Run, network: Path, untrained_options: list[str], tmp_path: Path
) -> None:
    _, _, *rest = untrained_options
    asked = ["tune", f"{network}:of_one_size", *rest, "--rounds", "1"]
    result = run(*asked, "--run-dir", tmp_path / "run", "--compare", "smaller-images")
    assert result.exit_code == 0, result.output
    assert "smaller-0.75 is not there: Sequential does not run on" in result.stdout
    assert "there is nothing to compare with" in result.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that several tests copy."""
    return tmp_path_factory.mktemp("made") / "run"


@pytest.fixture
def finished(as_json: Run, untrained_options: list[str], made: Path, tmp_path: Path) -> Path:
    """A finished run of one round, whose model is made out to be twice as fast as the original."""
    if not made.exists():
        as_json(*untrained_options, "--run-dir", made, "--sizes", "2")
        path = made / "round-01" / "point.json"
        twice = {"speedup": {"median": 2.0, "lower": 1.9, "upper": 2.1}, "drop": 0.25}
        path.write_text(json.dumps(json.loads(path.read_text()) | twice))
    return shutil.copytree(made, tmp_path / "run")


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        (["--max-drop", "0.3"], "round-01"),
        (["--max-drop", "0.2"], "original"),
        (["--min-speedup", "1.5"], "round-01"),
        (["--max-latency-ms", "1e9", "--max-drop", "0.1"], "original"),
    ],
)
def test_pick_keeps_the_limits(as_json: Run, finished: Path, limits: list[str], name: str) -> None:
    picked = as_json("pick", finished, *limits)
    assert picked["name"] == name
    file = None if name == "original" else str(finished / "round-01" / "model.safetensors")
    assert picked["file"] == file


def test_pick_copies_the_file_of_its_model(
    run: Run, refused: Run, network: Path, finished: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "out" / "chosen.safetensors"
    result = run("pick", finished, "--min-speedup", "1.5", "--output", copied)
    assert result.stdout.startswith("round-01: ")
    load, export, file = result.stdout.splitlines()[-3:]
    assert load == f"load it:   fast = virtualpool.load(model, {str(copied)!r}).eval()"
    asked = shlex.split(export.removeprefix("export it: "))
    assert asked[:2] == ["virtualpool", "export"]
    assert asked[2:] == [f"{network}:tiny", str(copied), "--output", "round-01.onnx"]
    assert file == str(copied)
    model = virtualpool.load(load_network(f"{network}:tiny").module, copied)
    assert len(virtualpool.plan_of(model).names) == 2

    assert run("pick", finished, "--point", "round-01").stdout.startswith("round-01: ")
    assert "No model is named 'round-02'" in refused("pick", finished, "--point", "round-02")
    assert run("pick", finished, "--point", "round-01", "--max-drop", "1").exit_code == 2
    drop = ["--max-drop", "0.1", "--output", copied]
    assert "no file to copy; allow a larger drop" in refused("pick", finished, *drop)
    assert "No model is within" in refused("pick", finished, "--min-speedup", "3")
    (finished / "round-01" / "model.safetensors").unlink()
    said = refused("pick", finished, "--min-speedup", "1.5", "--output", tmp_path / "other")
    assert "the model's file is gone" in said


def test_pick_advises_no_larger_drop_where_nothing_is_faster(
    refused: Run, finished: Path, tmp_path: Path
) -> None:
    path = finished / "round-01" / "point.json"
    slower = {"speedup": {"median": 0.9, "lower": 0.8, "upper": 1.0}}
    path.write_text(json.dumps(json.loads(path.read_text()) | slower))
    said = refused("pick", finished, "--max-drop", "1", "--output", tmp_path / "no.safetensors")
    assert "no other model of the run is faster" in said


def test_pick_saves_a_cascade(
    run: Run, as_json: Run, refused: Run, network: Path, finished: Path, tmp_path: Path
) -> None:
    asked = ["pick", finished, "--cascade", tmp_path / "cascade"]
    found = as_json(*asked, "--max-drop", "0.9")
    loaded = virtualpool.Cascade.load(load_network(f"{network}:tiny").module, found["folder"])
    assert loaded.to_json() == {name: found[name] for name in ("calibration", "times")}
    assert loaded.calibration.labelled
    assert len(virtualpool.plan_of(loaded.fast).names) == 2
    assert "the fast model (" in run(*asked, "--max-drop", "0.9").stdout
    assert "are needed" in refused(*asked)
    assert run(*asked, "--min-speedup", "2").exit_code == 2

    config = finished / "config.json"
    whole = json.loads(config.read_text())
    config.write_text(json.dumps(whole | {"weights": "0"}))
    assert "was made with other weights than" in refused(*asked)
    config.write_text(json.dumps(whole | {"settings": {}}))
    assert "it was not made by virtualpool tune" in refused(*asked)


def test_pick_and_report_of_an_unfinished_run(run: Run, refused: Run, finished: Path) -> None:
    (finished / "round-01" / "point.json").unlink()
    result = run("pick", finished, "--max-drop", "1")
    assert "--max-drop 1 allows any model, for the original has 0:" in result.stderr
    assert "allows any model" not in run("pick", finished, "--max-drop", "0").stderr
    assert result.exit_code == 0
    assert "not finished" in result.stderr
    assert run("report", finished).exit_code == 0
    assert "not finished" in (finished / "report.html").read_text(encoding="utf-8")
    (finished / "round-00" / "point.json").unlink()
    assert "no model is measured yet" in refused("pick", finished, "--max-drop", "1")


@pytest.mark.parametrize(
    ("function", "options", "rounds"),
    [
        ("tiny", ["--recover", "distillation", "--rounds", "1", "--rate-schedule", "cosine"], 1),
        ("tiny", ["--recover", "distillation+labels", "--rounds", "1", "--ema", "0.9"], 1),
        ("normalised", ["--recover", "labels,recalibration,reconstruction", "--rounds", "1"], 1),
    ],
)
def test_other_recoveries(
    as_json: Run,
    network: Path,
    tune_options: list[str],
    tmp_path: Path,
    function: str,
    options: list[str],
    rounds: int,
) -> None:
    _, _, *rest = tune_options
    found = as_json("tune", f"{network}:{function}", *rest, "--run-dir", tmp_path / "run", *options)
    assert len(found["points"]) == 1 + rounds


@pytest.mark.parametrize(
    ("function", "options", "rounds"),
    [
        ("normalised", ["--recover", "recalibration", "--rounds", "2"], 2),
        ("tiny", ["--recoverable", "--rounds", "1"], 1),
        ("tiny", ["--by-time", "--rounds", "2"], 2),
        ("tiny", ["--thresholds", "1", "--no-labels"], 1),
        ("tiny", ["--per-layer", "--max-drop", "-1"], 1),
    ],
)
def test_other_rounds(
    as_json: Run,
    network: Path,
    untrained_options: list[str],
    tmp_path: Path,
    function: str,
    options: list[str],
    rounds: int,
) -> None:
    _, _, *rest = untrained_options
    found = as_json("tune", f"{network}:{function}", *rest, "--run-dir", tmp_path / "run", *options)
    assert len(found["points"]) == 1 + rounds
    assert found["points"][-1]["over_limit"] == ("--max-drop" in options)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["epochs"] == config["learning_rates"] == [None] * len(config["epochs"])


@pytest.mark.parametrize("way", ["none", "recalibration", "recalibration,reconstruction"])
def test_options_of_a_training_that_is_not_asked_for(
    run: Run, untrained_options: list[str], tmp_path: Path, way: str
) -> None:
    asked = [*untrained_options, "--run-dir", tmp_path / "run", "--recover", way]
    said = " ".join(run(*asked, "--epochs", "2", "--clip", "1").stderr.replace("│", "").split())
    assert f"--epochs and --clip: --recover {way} trains nothing. Leave them out" in said


def test_training_options_reach_the_training(
    as_json: Run, refused: Run, tune_options: list[str], tmp_path: Path
) -> None:
    asked = [*tune_options, "--run-dir", tmp_path / "run", "--sizes", "1"]
    assert "clip is 0.0; it must be a number above 0" in refused(*asked, "--clip", "0")
    # With gradients this short, only weight decay moves the weights.
    options = ["--clip", "1e-12", "--learning-rate", "0.1", "--recover", "labels"]
    (_, point) = as_json(*asked, *options)["points"]
    trained = load_file(tmp_path / "run" / point["weights"])
    original = load_network(tune_options[1]).module.state_dict()
    for name, value in original.items():
        torch.testing.assert_close(trained[name], value, rtol=1e-3, atol=1e-6)


def test_reconstruction_alone_trains_nothing(
    as_json: Run, run: Run, tune_options: list[str], tmp_path: Path
) -> None:
    at = tune_options.index("--epochs")
    asked = [*tune_options[:at], *tune_options[at + 2 :], "--run-dir", tmp_path / "run"]
    asked += ["--rounds", "1", "--recover", "reconstruction", "--reconstruction-images", "12"]
    (_, point) = as_json(*asked)["points"]
    solved = load_file(tmp_path / "run" / point["weights"])
    original = load_network(tune_options[1]).module.state_dict()
    assert any(not torch.equal(solved[name], value) for name, value in original.items())
    assert not (tmp_path / "run" / "round-01" / "training.jsonl").exists()
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["finetune"] == "by_reconstruction"
    assert config["settings"]["reconstruction images"] == 12
    for option, value in (("--epochs", "1"), ("--learning-rate", "0.1"), ("--steps", "3")):
        said = " ".join(run(*asked, option, value).stderr.split())
        assert f"{option}: --recover reconstruction trains nothing" in said


def test_random_weights_are_the_same_when_a_run_goes_on(
    as_json: Run, network: Path, tune_options: list[str], tmp_path: Path
) -> None:
    at = tune_options.index("--epochs")
    rest = [*tune_options[2:at], *tune_options[at + 2 :], "--run-dir", str(tmp_path / "run")]
    asked = ["tune", f"{network}:normalised", *rest, "--weights", "random"]
    asked += ["--rounds", "1", "--steps", "7", "--recover", "labels", "--drop-steps", "2,5"]
    assert as_json(*asked) == as_json(*asked)
    records = read_records(tmp_path / "run" / "round-01" / "training.jsonl")
    assert (records[-2]["step"], records[-2]["learning_rate"]) == (7, pytest.approx(1e-5))


def test_the_users_own_rounds(
    as_json: Run, refused: Run, untrained_options: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "rounds.json"
    path.write_text(json.dumps({"tiny": {"rounds": [["5"], ["0"]]}, "wrong": [["conv"]]}))
    options = [*untrained_options, "--rounds-file"]
    found = as_json(*options, f"{path}:tiny", "--run-dir", tmp_path / "run")
    plans = [[site["name"] for site in point["plan"]["sites"]] for point in found["points"]]
    assert plans == [[], ["5"], ["5", "0"]]
    said = refused(*options, f"{path}:wrong", "--run-dir", tmp_path / "other")
    assert "'conv'" in said


def test_data_without_training_images_can_only_be_pooled(
    run: Run, refused: Run, images: Path, untrained_options: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    shutil.copytree(images / "test", folder / "val")
    asked = [str(folder) if part == str(images) else part for part in untrained_options]
    asked += ["--rounds", "1", "--run-dir", str(tmp_path / "run")]
    assert "no training images" in refused(*asked, "--recover", "labels")
    assert run(*asked).exit_code == 0


def test_images_that_cannot_be_read_are_named_and_left_out(
    run: Run, images: Path, untrained_options: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    shutil.copytree(images, folder)
    (folder / "test" / "red" / "0.png").write_bytes(b"not an image")
    asked = [str(folder) if part == str(images) else part for part in untrained_options]
    result = run(*asked, "--rounds", "1", "--run-dir", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "1 image could not be read and was left out" in result.stderr
    assert "0.png" in result.stderr


@pytest.mark.parametrize(
    "options",
    [
        ["--rounds", "2", "--per-layer"],
        ["--epochs", "many"],
        ["--epochs", "1", "--steps", "9"],
        ["--drop-steps", "0.5"],
        ["--sizes", "a,b"],
        ["--recover", "prayer"],
        ["--recover", "both"],
        ["--recover", ""],
        ["--recover", "reconstruction,none"],
        ["--recover", "reconstruction,,labels"],
        ["--recover", "reconstruction"],
        ["--reconstruction-images", "1"],
        ["--rounds", "0"],
        ["--compare", "larger-images"],
    ],
)
def test_wrong_usage_of_tune(
    run: Run, tune_options: list[str], tmp_path: Path, options: list[str]
) -> None:
    result = run(*tune_options, "--run-dir", tmp_path / "run", *options)
    assert result.exit_code == 2
    assert not (tmp_path / "run").exists()
