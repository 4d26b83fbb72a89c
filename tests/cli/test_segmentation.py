"""`--task segmentation`, in this process."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.tasks.segmentation.conftest import write

Run = Callable[..., Any]

NETWORK = """
from torch import nn


def tiny():
    # In PyTorch 2.14 the backward of a 1x1 convolution with a stride and 8 channels or fewer writes
    # beyond its memory.
    block = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    more = [nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2)]
    return nn.Sequential(*block, *more, nn.Conv2d(16, 2, 1))


def image_classifier():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("street")
    write(folder, "train", 4)
    write(folder, "val", 3)
    (folder / "network.py").write_text(NETWORK)
    return folder


def asked(command: str, folder: Path, *more: object, network: str = "tiny") -> list[object]:
    model = f"{folder / 'network.py'}:{network}"
    usual = ["--task", "segmentation", "--workers", "0", "--device", "cpu", "--data", folder]
    return [command, model, *usual, *more]


def test_sensitivity_is_that_of_the_miou(run: Run, as_json: Run, folder: Path) -> None:
    found = as_json(*asked("sensitivity", folder))
    assert len(found["sites"]) == 3
    assert {"pixel accuracy", "boundary F", "IoU of class 0"} <= set(found["baseline"]["metrics"])
    result = run(*asked("sensitivity", folder, "--no-labels"))
    assert " agreement on 3 images" in result.stdout


def test_images_without_masks_will_do(run: Run, folder: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    shutil.copytree(folder / "train", images)
    asks = asked("tune", images, "--no-labels", "--sizes", "2", "--run-dir", tmp_path / "run")
    asks[1] = f"{folder / 'network.py'}:tiny"
    result = run(*asks, "--epochs", "1", "--repeats", "1", "--threads", "1")
    assert result.exit_code == 0, result.output
    assert "3 training and 1 test images, labels are not read" in result.stderr
    assert run("report", tmp_path / "run").exit_code == 0
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "difference" in page
    assert "truth" not in page


@pytest.mark.parametrize("recover", ["labels", "reconstruction,distillation+labels"])
def test_tune_from_its_start_to_a_report_and_a_file(
    run: Run, folder: Path, tmp_path: Path, recover: str
) -> None:
    asks = [*asked("tune", folder, "--sizes", "2", "--run-dir", tmp_path / "run")]
    result = run(
        *[*asks, "--recover", recover, "--epochs", "1", "--repeats", "1", "--threads", "1"],
        *["--size", "16", "--augment", "crop", "--batch-size", "2", "--wide"],
    )
    assert result.exit_code == 0, result.output
    assert "mIoU %" in result.stdout
    assert "boundary F %" in result.stdout
    assert "IoU of" not in result.stdout
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert page.count('<img src="data:image/') == 3 * 5
    assert all(f"</svg>class {number}</li>" in page for number in (0, 1))
    settings = json.loads((tmp_path / "run" / "config.json").read_text())["settings"]
    assert (settings["task"], settings["ignored"]) == ("segmentation", 255)
    assert settings["images"]["crop"] == [16, 16]
    best = run("pick", tmp_path / "run", "--max-drop", "1", "--json")
    assert best.exit_code == 0, best.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--augment", "flip both"], "augmentation is 'flip both'"),
        (["--augment", "crop"], "crops, and no size is given"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    refused: Run, folder: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    assert said in refused(*asked("tune", folder, "--run-dir", tmp_path / "run", *options))


def test_masks_and_networks_that_do_not_fit_are_refused(refused: Run, folder: Path) -> None:
    said = refused(*asked("sensitivity", folder, "--ignore", "3"))
    assert "holds 255, and the numbers of classes are 0 to 1, and 3 of ignored pixels" in said
    said = refused(*asked("sensitivity", folder, network="image_classifier"))
    assert "segmentation expects logits of shape (N, classes, H, W)" in said


def test_a_file_with_other_names_is_refused(refused: Run, folder: Path) -> None:
    names = folder / "classes.txt"
    names.write_text("ground\ncar\ntree\n")
    try:
        assert "has 3 classes (ground, car, tree), and the network" in refused(
            *asked("sensitivity", folder)
        )
    finally:
        names.unlink()
