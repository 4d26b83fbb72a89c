"""The masks of two models in the report of a run."""

import base64
import io

import pytest
import torch
from PIL import Image
from tests.tasks.segmentation.conftest import Bright
from torch import nn

from virtualpool.tasks.segmentation import illustration, load_data
from virtualpool.tasks.segmentation.drawing import colour_of


class Nothing(nn.Module):
    """Finds the ground alone, at half the size."""

    def forward(self, x):
        ground = torch.ones_like(x[:, :1, ::2, ::2])
        return {"out": torch.cat([ground, -ground], 1)}


def opened(data: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(data.split(",")[1])))


@pytest.mark.parametrize("wide", [480, 16])
def test_image_truth_both_masks_and_their_difference(street, monkeypatch, wide):
    monkeypatch.setattr(illustration, "_WIDE", wide)
    (street / "test" / "1.png").write_bytes(b"no image")
    data = load_data(street, workers=0)
    data.splits["test"].pairs.insert(1, data.splits["train"].pairs[0])
    data.splits["test"].pairs[1].image.write_bytes(b"broken since")
    drawn = illustration.illustrated({"original": Bright(), "round 1": Nothing()}, data)
    assert [row["title"] for row in drawn["rows"]] == [
        "0.png: both models alike at 84.4 % of pixels",
        "2.png: both models alike at 84.4 % of pixels",
    ]
    assert drawn["legend"] == [
        {"name": "ground", "colour": colour_of(0)},
        {"name": "car", "colour": colour_of(1)},
        {"name": "no class", "colour": "#222222"},
    ]
    pictures = drawn["rows"][0]["pictures"]
    names = ["image", "truth", "original", "round 1", "difference"]
    assert [each["title"] for each in pictures] == names
    shown = [opened(each["data"]).convert("RGB") for each in pictures]
    assert {each.size for each in shown} == {(min(wide, 32), min(wide, 32) * 3 // 4)}
    assert [len(each.getcolors(999) or ()) for each in shown[1:]] == [3, 2, 1, 2]


def test_a_normalised_image_is_shown_as_it_was(street):
    data = load_data(street, workers=0)
    image, _ = data.test.dataset[0]
    with Image.open(street / "test" / "0.png") as file:
        pixels = torch.tensor([*file.tobytes()], dtype=torch.uint8).view(24, 32, 3)
    assert data.preparation.as_bytes(image).equal(pixels)
