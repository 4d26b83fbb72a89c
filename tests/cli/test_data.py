from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from virtualpool import VirtualPoolError
from virtualpool.cli.data import Preparation
from virtualpool.cli.network import Network
from virtualpool.tasks.preprocessing import IMAGENET_MEAN, Preprocessing

IMAGENET = Preprocessing(224, resize=256, augmentation="resized crop")
TRAINED = Network(nn.Identity(), 224, IMAGENET, trained=True)
UNTRAINED = replace(TRAINED, trained=False)
UNKNOWN = Network(nn.Identity(), 224)


@pytest.mark.parametrize(
    ("said", "source", "network", "expected"),
    [
        ({}, "FOLDER", TRAINED, {"size": 224, "resize": 256}),
        ({}, "sample:cifar10", TRAINED, {"size": 224, "resize": 256}),
        ({}, "sample:cifar10", UNTRAINED, {"size": 32, "augmentation": "crop"}),
        ({}, "sample:cifar10", UNKNOWN, {"size": 32, "augmentation": "crop"}),
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
