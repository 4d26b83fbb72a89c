"""Tiny images with masks in folders."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

ROWS, COLUMNS = 24, 32


class Bright(nn.Module):
    """Class 1 where it is bright."""

    def forward(self, x):
        bright = x.mean(1, keepdim=True)
        return torch.cat([-bright, bright], 1)


def write(folder: Path, split: str, count: int) -> None:
    """Images of two colours: a bright rectangle of class 1 on a dark ground, a row to ignore."""
    for kind in (split, f"{split}annot"):
        (folder / kind).mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    for index in range(count):
        pixels = torch.randint(0, 100, (ROWS, COLUMNS, 3), generator=generator, dtype=torch.uint8)
        mask = torch.zeros(ROWS, COLUMNS, dtype=torch.uint8)
        mask[6:16, 4 + index : 16 + index] = 1
        pixels[mask == 1] += 120
        mask[-1] = 255
        Image.fromarray(pixels.numpy()).save(folder / split / f"{index}.png")
        Image.fromarray(mask.numpy()).save(folder / f"{split}annot" / f"{index}.png")


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """A folder with four training and three test images."""
    folder = tmp_path / "street"
    write(folder, "train", 4)
    write(folder, "test", 3)
    (folder / "classes.txt").write_text("ground\ncar\n")
    return folder
