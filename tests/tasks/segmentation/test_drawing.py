"""Masks as pictures, with a legend and no photograph."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from virtualpool.tasks.segmentation.drawing import (
    DIFFERENT,
    UNNAMED,
    colour_of,
    coloured,
    differences,
    legend,
    side_by_side,
)

TRUTH = torch.zeros(6, 8, dtype=torch.int64)
TRUTH[:3, 4:], TRUTH[-1] = 1, 255
FOUND = TRUTH.where(TRUTH != 255, 2)
CLASSES = ["sky", "car $5", "tree"]


def colours_of(picture: Image.Image) -> set[str]:
    found = picture.convert("RGB").getcolors(1 << 20)
    assert found is not None
    return {"#" + "".join(f"{each:02x}" for each in colour) for _, colour in found}  # pyright: ignore


def test_each_class_has_a_colour_of_its_own():
    assert len({*map(colour_of, range(150)), UNNAMED, DIFFERENT}) == 152
    shown = coloured(torch.tensor([[1, 1, 3, 255, -1]]), 3)
    assert shown.tolist() == [[[154, 99, 36]] * 2 + [[34, 34, 34]] * 3]


def test_the_legend_names_what_is_there_in_the_order_of_the_classes():
    assert [*legend([FOUND], CLASSES)] == CLASSES
    assert [*legend([TRUTH, TRUTH], CLASSES)] == ["sky", "car $5", "no class"]


def test_where_masks_differ():
    shown = differences(TRUTH, FOUND)
    assert (shown == torch.tensor([0xD8, 0x1B, 0x60])).all(-1).equal(TRUTH != FOUND)


@pytest.mark.parametrize("compared", [None, ("truth", "pooled")])
def test_masks_side_by_side(tmp_path: Path, compared):
    path = tmp_path / "masks.png"
    other = FOUND.roll(1, 1)
    rows = [{"truth": TRUTH, "pooled": FOUND}, {"truth": TRUTH, "pooled": other}]
    side_by_side(rows, CLASSES, path, compared=compared)
    with Image.open(path) as picture:
        columns = 2 if compared is None else 3
        wide, high = picture.size
        assert wide == pytest.approx(2.5 * (columns * 186 + 6), abs=1)
        shown = colours_of(picture)
        # The last row of all masks is without a class, as in the truth.
        assert {colour_of(0), colour_of(1), UNNAMED} <= shown
        assert (DIFFERENT in shown) == (compared is not None)
        first = picture.crop((0, 0, wide, high // 2))
        assert DIFFERENT not in colours_of(first)


def test_masks_as_a_drawing_without_pixels(tmp_path: Path):
    side_by_side([{"truth": TRUTH}], CLASSES, tmp_path / "masks.svg")
    assert "<svg" in (tmp_path / "masks.svg").read_text("utf-8")
