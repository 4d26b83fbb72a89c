"""A tiny network in a file, and tiny images in folders."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from virtualpool.cli import app

NETWORK = '''
import os
import signal

import torch
from torch import nn


def tiny():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(),
        nn.Conv2d(6, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )


def normalised():
    return nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), *tiny())


def of_one_size():
    return nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(768, 3))


def loud():
    print("this network talks")
    return tiny()


def interrupted():
    """Ctrl-C in its eighth step of training, where the environment asks for it."""
    network, steps = loud(), []

    def press(module, inputs):
        steps.append(module.training and torch.is_grad_enabled())
        if sum(steps) == 8 and "PRESS_CTRL_C" in os.environ:
            os.kill(os.getpid(), signal.SIGINT)

    network[0].register_forward_pre_hook(press)
    return network


def failing():
    """Fails in the second of several processes."""
    if os.environ["RANK"] == "1":
        raise ValueError("no luck here")
    return tiny()


def needy(classes):
    return tiny()


def broken():
    raise ValueError("no weights today")


def not_a_network():
    return {"layers": 3}
'''


DETECTOR = """
from tests.tasks.detection.tiny import tiny_detector


def tiny():
    return tiny_detector()
"""


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with functions that give networks of three sites, for 16 x 16 images."""
    path = tmp_path_factory.mktemp("network") / "network.py"
    path.write_text(NETWORK, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images, 24 and 12 for tests, whose class is their strongest colour."""
    folder = tmp_path_factory.mktemp("data") / "images"
    generator = torch.Generator().manual_seed(0)
    for split, count in (("train", 8), ("test", 4)):
        for channel, name in enumerate(("red", "green", "blue")):
            (folder / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = torch.randint(0, 160, (16, 16, 3), generator=generator, dtype=torch.uint8)
                pixels[..., channel] += 60
                Image.fromarray(pixels.numpy()).save(folder / split / name / f"{index}.png")
    return folder


@pytest.fixture(scope="session")
def detector(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("network") / "detector.py"
    path.write_text(DETECTOR, encoding="utf-8")
    return f"{path}:tiny"


@pytest.fixture(scope="session")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Light squares on dark images, in the layout of VOC; one test image is broken."""
    root = tmp_path_factory.mktemp("boxes")
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for split, names in (("train", "abcd"), ("test", "efgh")):
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names))
        for place, name in enumerate(names):
            pixels = torch.zeros(30 + place, 40, 3, dtype=torch.uint8)
            pixels[5:17, 4 + place : 18 + place] = 255
            Image.fromarray(pixels.numpy()).save(root / "JPEGImages" / f"{name}.jpg")
            (root / "Annotations" / f"{name}.xml").write_text(
                "<annotation><object><name>square</name><bndbox>"
                f"<xmin>{5 + place}</xmin><ymin>6</ymin><xmax>{18 + place}</xmax><ymax>17</ymax>"
                "</bndbox></object></annotation>"
            )
    (root / "Annotations" / "h.xml").write_text("<annotation>")
    return root


@pytest.fixture
def tune_options(network: Path, images: Path) -> list[str]:
    """The arguments of a tune that takes a second."""
    return [
        "tune", f"{network}:tiny", "--data", str(images), "--size", "16", "--batch-size", "8",
        "--workers", "0", "--epochs", "1", "--repeats", "1", "--threads", "1", "--device", "cpu",
    ]  # fmt: skip


@pytest.fixture
def untrained_options(tune_options: list[str]) -> list[str]:
    """The arguments of such a tune that recovers nothing."""
    at = tune_options.index("--epochs")
    return [*tune_options[:at], *tune_options[at + 2 :], "--recover", "none"]


@pytest.fixture
def run() -> Iterator[Callable[..., Any]]:
    """Runs the command in this process; gives exit_code, stdout and stderr."""
    names = ("virtualpool", "virtualpool.search")
    before = [(logging.getLogger(name), logging.getLogger(name).level) for name in names]
    yield lambda *arguments: CliRunner().invoke(app, [str(part) for part in arguments])
    for logger, level in before:
        logger.setLevel(level)
        logger.handlers = []


@pytest.fixture
def refused(run: Callable[..., Any]) -> Callable[..., str]:
    """Runs a command that is refused; gives its one line on standard error."""

    def refused(*arguments: Any) -> str:
        result = run(*arguments)
        assert result.exit_code == 1, result.output
        assert result.stdout == ""
        lines = result.stderr.splitlines()
        assert lines[-1].startswith("error: ")
        assert not [line for line in lines if "Traceback" in line]
        return lines[-1]

    return refused


@pytest.fixture
def as_json(run: Callable[..., Any]) -> Callable[..., Any]:
    """Runs a command with --json; gives the value on standard output, which is nothing else."""

    def as_json(*arguments: Any) -> Any:
        result = run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return as_json
