import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from virtualpool.graph.image_scale import (
    at_scale,
    attach,
    given_to,
    resized,
    scale_of,
    seen_by,
    takes_images,
    without_resizing,
)

IMAGES = torch.rand(2, 3, 12, 10, generator=torch.Generator().manual_seed(0))

SIZES = [
    (0.75, (12, 10), (9, 8)),  # 7.5 is rounded to the even number
    (0.625, (12, 10), (8, 6)),
    (0.5, (224, 224), (112, 112)),
    (0.5, (5, 1), (2, 1)),
    (0.1, (4, 4), (1, 1)),
    (1.5, (5, 1), (8, 1)),  # a factor for each channel stays one
    (0.625, (224, 299), (140, 187)),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.uint8])
@pytest.mark.parametrize(("scale", "size", "expected"), SIZES)
def test_every_side_is_a_part_of_what_it_was(scale, size, expected, dtype):
    found = resized(torch.zeros(2, 3, *size, dtype=dtype), scale)
    assert (found.shape, found.dtype) == ((2, 3, *expected), dtype)


def test_images_are_resized_and_all_else_stays():
    mask = torch.zeros(1, 3, 8, 8, dtype=torch.int64)
    inputs = {"images": (IMAGES, mask), "labels": torch.ones(2), "fast": True}
    found = resized(inputs, 0.5)
    expected = functional.interpolate(IMAGES, (6, 5), mode="bilinear", antialias=True)
    assert torch.equal(found["images"][0], expected)
    assert found["images"][1] is mask
    assert (found["labels"] is inputs["labels"], found["fast"]) == (True, True)


def test_bytes_are_resized_as_numbers_and_rounded():
    images = (255 * IMAGES).to(torch.uint8)
    expected = resized(images.float(), 0.5).round()
    assert torch.equal(resized(images, 0.5).float(), expected)


class Scaled(nn.Module):
    """Takes images, and a factor by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor, *, factor: float = 1.0) -> Tensor:
        return self.convolution(images) * factor


def test_a_model_and_its_copies_resize_themselves():
    model = Scaled()
    expected = model(resized(IMAGES, 0.75), factor=2.0)
    end = attach(model, 0.75)
    for each in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(each(IMAGES, factor=2.0), expected)
        assert torch.equal(each(images=IMAGES, factor=2.0), expected)
        assert scale_of(each) == 0.75
    apart, seen = without_resizing(model, IMAGES)
    assert torch.equal(apart(seen, factor=2.0), expected)
    assert (scale_of(apart), seen_by(apart, seen) is seen) == (1, True)
    assert given_to(model, seen).shape == (2, 3, 12, 11)  # 10 columns, but for rounding
    end()
    assert (scale_of(model), model(IMAGES).shape) == (1, (2, 4, 10, 8))


def test_the_scale_is_seen_through_a_wrapper_and_before_other_hooks():
    model = nn.Identity()
    seen = []
    model.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[2]))
    attach(model, 0.5)
    assert (scale_of(model), scale_of(nn.DataParallel(model))) == (0.5, 0.5)
    assert model(IMAGES).shape == IMAGES.shape
    assert seen == [6]


def test_the_scale_ends_where_it_is_said_to():
    model = nn.Identity()
    for scale in (0.5, 1.5, 1.0):
        with at_scale(model, scale):
            assert scale_of(model) == scale
            assert seen_by(model, IMAGES).shape[2] == 12 * scale
        assert scale_of(model) == 1
        assert model(IMAGES) is IMAGES


class Dense(nn.Module):
    """Values at each pixel, in several forms; the others stay as they are."""

    def forward(self, images: Tensor) -> Any:
        whole, small = images[:, :2], images[:, :, ::2, ::2]
        return {"out": whole, "more": (small, whole.argmax(1, keepdim=True), images.mean((2, 3)))}


@pytest.mark.parametrize("scale", [0.75, 0.5, 1.25])
def test_maps_of_the_size_of_the_images_get_it_back(scale: float):
    model = Dense()
    plain = model(resized(IMAGES, scale))
    end = attach(model, scale)
    expected = functional.interpolate(plain["out"], IMAGES.shape[2:], mode="bilinear")
    for each in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        found = each(IMAGES)
        assert torch.equal(found["out"], expected)
        assert all(map(torch.equal, found["more"], plain["more"]))
        each(IMAGES[..., :9, :9])
        assert each(IMAGES)["out"].shape == IMAGES[:, :2].shape
    apart, seen = without_resizing(model, IMAGES)
    assert torch.equal(apart(seen)["out"], plain["out"])
    end()
    assert torch.equal(model(IMAGES)["out"], IMAGES[:, :2])


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (IMAGES, True),
        ({"factor": 2.0, "images": IMAGES}, True),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), True),
        (torch.zeros(1, 3, 4, 4, dtype=torch.int64), False),
        (torch.zeros(2, 3), False),
        ([torch.zeros(3, 8, 8)], False),  # who knows what they are to a network of one's own
    ],
)
def test_which_inputs_hold_images(inputs: Any, expected: bool):
    assert takes_images(nn.Identity(), inputs) == expected
