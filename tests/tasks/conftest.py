"""Small image folders, some of whose files are no images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeFolder = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("VIRTUALPOOL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write_image(path: Path, seed: int = 0, size: tuple[int, int] = (8, 8), mode="RGB") -> Path:
    """A random image of (width, height)."""
    width, height = size
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


@pytest.fixture
def make_folder(tmp_path) -> MakeFolder:
    """Makes `<split>/<class>/<image>` with so many images in each class."""

    def make(layout: dict[str, dict[str, int]], suffix: str = ".png") -> Path:
        root = tmp_path / "images"
        root.mkdir()
        seed = 0
        for split, classes in layout.items():
            for name, count in classes.items():
                for number in range(count):
                    write_image(root / split / name / f"{number}{suffix}", seed)
                    seed += 1
        return root

    return make


@pytest.fixture
def break_file() -> Callable[[Path, str], None]:
    """Leaves something at a path that no image decoder takes."""

    def broken(path: Path, how: str) -> None:
        content = path.read_bytes()
        path.unlink()
        if how == "folder":
            path.mkdir()
        elif how != "gone":
            path.write_bytes(
                {"truncated": content[: len(content) // 2], "text": b"no image", "empty": b""}[how]
            )

    return broken
