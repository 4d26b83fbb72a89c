"""The programs of `benchmarks/` as their users run them, and images of ten classes."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Program = Callable[..., None]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Program:
    """Runs a benchmark by its module, such as `speed.gpu`, with arguments."""

    def run(name: str, *arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_module(f"benchmarks.{name}", run_name="__main__", alter_sys=True)

    return run


@pytest.fixture(scope="session")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder laid out as CIFAR-10 is: one training and one test image a class, random."""
    folder, generator = tmp_path_factory.mktemp("cifar"), np.random.default_rng(0)
    for split in ("train", "test"):
        for label in "abcdefghij":
            pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            path = folder / split / label / "image.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(pixels).save(path)
    return folder
