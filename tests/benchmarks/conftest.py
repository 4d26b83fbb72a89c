"""The programs of `benchmarks/` as their users run them, and images of ten classes."""

import importlib
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

Load = Callable[[str], Any]
Program = Callable[..., None]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Imports a module of the benchmarks, which are no package: others have modules so named."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield importlib.import_module
    for name, module in list(sys.modules.items()):
        if BENCHMARKS in Path(getattr(module, "__file__", None) or "/").parents:
            del sys.modules[name]


@pytest.fixture
def program(load: Load, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Runs a benchmark by its name, with arguments."""

    def run(name: str, *arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(BENCHMARKS / name), run_name="__main__")

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
