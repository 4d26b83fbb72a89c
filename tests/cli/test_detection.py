"""`--task detection`, in this process."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def asked(command: str, detector: str, boxes: Path, *more: object) -> list[object]:
    usual = ["--task", "detection", "--workers", "0", "--device", "cpu", "--data", boxes]
    return [command, detector, *usual, *more]


def test_sensitivity_is_that_of_the_mean_average_precision(
    run: Run, as_json: Run, detector: str, boxes: Path
) -> None:
    found = as_json(*asked("sensitivity", detector, boxes))
    assert len(found["sites"]) == 5
    assert found["baseline"]["samples"] == 3
    assert {"voc", "voc2007"} <= set(found["baseline"]["metrics"])
    result = run(*asked("sensitivity", detector, boxes, "--metric", "voc2007"))
    assert " VOC 2007 mAP on 3 images; each site pooled alone" in result.stdout
    said = result.stderr
    assert "1 image left out (" in said
    assert "could not be read" not in said


@pytest.mark.parametrize("recover", ["labels", "reconstruction,distillation+labels", "none"])
def test_tune(as_json: Run, detector: str, boxes: Path, tmp_path: Path, recover: str) -> None:
    length = ["--epochs", "1"] if "labels" in recover else []
    found = as_json(
        *asked("tune", detector, boxes, "--sizes", "2", "--run-dir", tmp_path / "run"),
        *["--recover", recover, *length, "--repeats", "1", "--threads", "1"],
        *["--augment", "flip both", "--optimizer", "adamw"],
    )
    assert [len(point["plan"]["sites"]) for point in found["points"]] == [0, 2]
    assert found["points"][1]["half_resolution"]["setting"]["batch"] == 1
    settings = json.loads((tmp_path / "run" / "config.json").read_text())["settings"]
    assert settings["task"] == "detection"
    assert settings["metric"] == "voc"
    assert settings["batch size"] == 2
    assert settings["images"] == {"augmentation": "flip both"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--size", "64"], "--size: a detector resizes and normalises images by itself"),
        (["--size", "64", "--std", "1", "1", "1"], "--size and --std: a detector"),
        (["--subset", "9"], "9 images cannot be taken of 3 test images"),
    ],
)
def test_what_a_detector_does_by_itself_is_refused(
    refused: Run, detector: str, boxes: Path, options: list[str], said: str
) -> None:
    assert said in refused(*asked("sensitivity", detector, boxes, *options))


def test_an_augmentation_without_boxes_is_refused(
    refused: Run, detector: str, boxes: Path, tmp_path: Path
) -> None:
    options = ["--augment", "crop", "--run-dir", tmp_path / "run"]
    said = refused(*asked("tune", detector, boxes, *options))
    assert "--augment crop: for detection there are none, flip, flip both" in said


def test_detectors_are_not_compared_on_smaller_images(
    refused: Run, detector: str, boxes: Path, tmp_path: Path
) -> None:
    options = ["--compare", "smaller-images", "--run-dir", tmp_path / "run"]
    said = refused(*asked("tune", detector, boxes, *options))
    assert "FasterRCNN cannot be compared on smaller images" in said
    assert "recipes/faster_rcnn_vgg16/train.py does by --side" in said
    assert not (tmp_path / "run").exists()


def test_a_network_and_a_task_that_do_not_fit_are_refused(
    refused: Run, detector: str, network: Path, boxes: Path, images: Path
) -> None:
    said = refused(*asked("sensitivity", f"{network}:tiny", boxes))
    assert "Sequential cannot be called with a list of images" in said
    said = refused("sensitivity", detector, "--data", images, "--size", "16", "--device", "cpu")
    assert "A detector is judged by virtualpool.tasks.detection (--task detection)." in said


def test_images_without_boxes_will_do(run: Run, detector: str, boxes: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    shutil.copytree(boxes / "JPEGImages", folder)
    (folder / "h.jpg").unlink()  # it is broken
    asking = asked("tune", detector, folder, "--no-labels", "--sizes", "2", "--epochs", "1")
    timing = ["--repeats", "1", "--threads", "1", "--run-dir", tmp_path / "run"]
    result = run(*asking, *timing)
    assert result.exit_code == 0, result.output
    assert "agreement %" in result.stdout
    assert "5 training and 2 test images, labels are not read" in result.stderr
    assert run("report", tmp_path / "run").exit_code == 0


def test_apply_reconstructs_a_detector_with_images_as_it_takes_them(
    as_json: Run, refused: Run, detector: str, boxes: Path
) -> None:
    asking = ["apply", detector, "all", "--images", boxes / "JPEGImages"]
    solved = as_json(*asking)["reconstruction"]
    before, after = (solved["agreement"][when] for when in ("before", "after"))
    assert before["cosine"] < after["cosine"] < 1
    assert before["top1"] is None
    said = refused(*asking, "--mean", "0", "0", "0")
    assert "--mean: a detector resizes and normalises images by itself" in said


def test_sites_of_a_detector_are_those_on_images_of_its_own_size(run: Run, detector: str) -> None:
    result = run("sites", detector)
    assert "for images of 32x32" in result.stdout
    assert "assumed" not in result.stderr


def test_a_folder_of_classes_has_no_boxes(refused: Run, detector: str, images: Path) -> None:
    said = refused(*asked("sensitivity", detector, images))
    assert "is laid out for classification, and the task is detection" in said


def test_a_folder_without_boxes_is_told_of_the_layouts(
    refused: Run, detector: str, tmp_path: Path
) -> None:
    assert "VOC's layout is" in refused(*asked("sensitivity", detector, tmp_path))


def test_a_detector_of_too_few_classes_is_refused_and_of_more_is_told(
    refused: Run, run: Run, detector: str, boxes: Path, tmp_path: Path
) -> None:
    for path in (boxes / "Annotations").iterdir():
        (tmp_path / "Annotations").mkdir(exist_ok=True)
        (tmp_path / "Annotations" / path.name).write_text(
            path.read_text().replace("square", "round" if path.stem == "a" else "square")
        )
    for folder in ("JPEGImages", "ImageSets"):
        (tmp_path / folder).symlink_to(boxes / folder)
    said = refused(*asked("sensitivity", detector, tmp_path))
    assert "has 2 classes (round, square), and the detector 2 with the background" in said
    file, _, name = detector.rpartition(":")
    more = tmp_path / "more.py"
    more.write_text(Path(file).read_text().replace("tiny_detector()", "tiny_detector(3)"))
    result = run(*asked("sensitivity", f"{more}:{name}", boxes))
    assert "(square), and the detector 4 with the background" in result.stderr
