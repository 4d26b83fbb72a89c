"""The pictures of docs/ are up to date with their program."""

import re
import runpy
import sys
from pathlib import Path

import pytest

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
TEXT_OR_COLOUR = re.compile(r"<!-- (.*?) -->|fill: (#\w{6})", re.DOTALL)


@pytest.fixture
def draw(monkeypatch: pytest.MonkeyPatch):
    def into(folder: Path) -> dict[str, bytes]:
        monkeypatch.setattr(sys, "argv", ["draw.py", str(folder)])
        runpy.run_path(str(PICTURES / "draw.py"), run_name="__main__")
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    monkeypatch.syspath_prepend(PICTURES)
    return into


def texts_and_colours(picture: bytes) -> list[tuple[str, str]]:
    return TEXT_OR_COLOUR.findall(picture.decode())


def test_what_lies_in_the_repository_is_what_is_drawn(draw, tmp_path: Path):
    drawn = draw(tmp_path / "once")
    assert drawn == draw(tmp_path / "again")
    assert drawn.keys() == {path.name for path in PICTURES.glob("*.svg")}
    for name, picture in drawn.items():
        # The curves of the letters differ between versions of matplotlib.
        there = texts_and_colours((PICTURES / name).read_bytes())
        assert there
        assert texts_and_colours(picture) == there, f"python docs/pictures/draw.py, for {name}"
