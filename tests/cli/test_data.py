from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tasks.detection.tiny import tiny_detector
from torch import nn

from virtualpool import VirtualPoolError
from virtualpool.cli.data import Kind, Preparation
from virtualpool.cli.layouts import check_layout
from virtualpool.cli.network import Network
from virtualpool.cli.task import check_logits
from virtualpool.tasks.preprocessing import IMAGENET_MEAN, Preprocessing

IMAGENET = Preprocessing(224, resize=256, augmentation="resized crop")
TRAINED = Network(nn.Identity(), 224, IMAGENET, trained=True)
UNTRAINED = replace(TRAINED, trained=False)
UNKNOWN = Network(nn.Identity(), 224)
SILENT = replace(UNKNOWN, trained=True)  # its weights do not say how images are prepared


@pytest.mark.parametrize(
    ("said", "source", "network", "expected"),
    [
        ({}, "FOLDER", TRAINED, {"size": 224, "resize": 256}),
        ({}, "sample:cifar10", TRAINED, {"size": 224, "resize": 256}),
        ({}, "sample:cifar10", UNTRAINED, {"size": 32, "augmentation": "crop"}),
        ({}, "sample:cifar10", UNKNOWN, {"size": 32, "augmentation": "crop"}),
        ({}, "sample:cifar10", SILENT, {"size": 32, "mean": (0.4914, 0.4822, 0.4465)}),
        ({"size": 16}, "FOLDER", SILENT, {"size": 16, "mean": IMAGENET_MEAN}),
        ({"size": 112}, "FOLDER", TRAINED, {"size": 112, "resize": 128}),
        ({"size": 112, "resize": 120}, "FOLDER", TRAINED, {"size": 112, "resize": 120}),
        ({"augmentation": "flip"}, "sample:cifar10", UNKNOWN, {"size": 32, "augmentation": "flip"}),
        ({"size": 16}, "FOLDER", UNKNOWN, {"size": 16, "resize": None, "mean": IMAGENET_MEAN}),
        ({"size": 16, "std": (1, 1, 1)}, "FOLDER", UNKNOWN, {"size": 16, "std": (1, 1, 1)}),
    ],
)
def test_what_the_user_said_comes_before_what_is_usual(
    images: Path, said: dict[str, Any], source: str, network: Network, expected: dict[str, Any]
) -> None:
    source = source.replace("FOLDER", str(images))
    prepared = Preparation(**said).for_images(source, network)
    assert {name: getattr(prepared, name) for name in expected} == expected


@pytest.mark.parametrize("said", [{}, {"mean": (0, 0, 0)}])
def test_unknown_sizes_must_be_said(images: Path, said: dict[str, Any]) -> None:
    with pytest.raises(VirtualPoolError, match="by --size"):
        Preparation(**said).for_images(str(images), UNKNOWN)


def test_a_detector_gets_images_of_its_own_size_in_their_own_colours(images: Path) -> None:
    detector = Network(tiny_detector(), 32)
    prepared = Preparation().for_unlabelled(str(images), detector)
    assert (prepared.size, prepared.mean, prepared.std) == (32, (0, 0, 0), (1, 1, 1))
    assert Preparation(size=48).for_unlabelled(str(images), detector).size == 48
    with pytest.raises(VirtualPoolError, match="--resize and --mean: a detector resizes"):
        Preparation(resize=40, mean=(0, 0, 0)).for_unlabelled(str(images), detector)
    assert Preparation().for_unlabelled(str(images), TRAINED) == IMAGENET


GREY = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


@pytest.mark.parametrize(
    ("said", "task", "source", "network", "expected"),
    [
        ({}, "detection", "FOLDER", UNKNOWN, "the detector resizes and normalises"),
        ({}, "classification", "FOLDER", TRAINED, "the weights' own"),
        ({}, "classification", "sample:cifar10", UNKNOWN, "usual for the data set"),
        ({}, "classification", "sample:cifar10", SILENT, "usual for the data set"),
        ({}, "classification", "FOLDER", UNTRAINED, "usual for the network"),
        ({"mean": GREY["mean"]}, "classification", "FOLDER", UNKNOWN, "ImageNet's where not asked"),
        ({}, "segmentation", "FOLDER", TRAINED, "ImageNet's where not asked"),
        (GREY, "segmentation", "FOLDER", UNKNOWN, ""),
    ],
)
def test_it_is_said_where_the_values_are_from_that_the_user_did_not_give(
    said: dict[str, Any], task: Kind, source: str, network: Network, expected: str
) -> None:
    origin = Preparation(**said).origin(task, source, network)
    assert expected in origin
    assert bool(expected) == bool(origin)


FOLDERS = {
    "classification": ["train/cat/1.jpg"],
    "detection": ["ImageSets/Main/train.txt", "JPEGImages/1.jpg"],
    "segmentation": ["valid/1.jpg", "validannot/1.png"],
}


@pytest.mark.parametrize("laid_out", FOLDERS)
@pytest.mark.parametrize("task", FOLDERS)
def test_a_folder_for_another_task_names_its_task(
    tmp_path: Path, laid_out: str, task: Kind
) -> None:
    for name in FOLDERS[laid_out]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    if task == laid_out:
        check_layout(str(tmp_path), task)
        return
    with pytest.raises(VirtualPoolError, match=f"Give --task {laid_out}"):
        check_layout(str(tmp_path), task)


@pytest.mark.parametrize("folder", ["", "nowhere"])
def test_a_folder_that_no_task_knows_is_left_to_the_task(tmp_path: Path, folder: str) -> None:
    check_layout(str(tmp_path / folder), "segmentation")


@pytest.mark.parametrize("logits", [2, 3, 5])
def test_a_classifier_has_a_logit_for_each_class(
    logits: int, capsys: pytest.CaptureFixture[str]
) -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, logits))
    asked: Any = network, torch.rand(1, 3, 4, 4), "FOLDER", ["a", "b", "c"]
    if logits < 3:
        with pytest.raises(VirtualPoolError, match="gives logits of 2; build it for as many"):
            check_logits(*asked)
        return
    check_logits(*asked)
    assert ("logits of 5" in capsys.readouterr().err) == (logits == 5)


@pytest.mark.parametrize("network", [nn.Identity(), nn.Linear(7, 3)])
def test_what_gives_no_logits_is_left_to_what_runs_it(network: nn.Module) -> None:
    check_logits(network, torch.rand(1, 3, 4, 4), "FOLDER", ["a", "b"])
