import re

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import detection

from virtualpool import VirtualPoolError
from virtualpool.search.resizing import check_resizable, refusal

IMAGES = torch.rand(2, 3, 12, 10, generator=torch.Generator().manual_seed(0))


class Scaled(nn.Module):
    """Takes images, and a scale by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor, *, scale: float = 1.0) -> Tensor:
        return self.convolution(images) * scale


class Auxiliary(nn.Module):
    """Has a second head, in training only, that needs a large map."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.second = nn.Conv2d(4, 2, 7)

    def forward(self, images: Tensor) -> Tensor:
        map = self.convolution(images)
        if self.training:
            self.second(map)
        return map.mean((2, 3))


def network(*ends: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), *ends)


REFUSALS = {
    "an average": (network(nn.AdaptiveAvgPool2d(1)), 0.5, None),
    "a map of one value, normalised": (
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3)), 0.5, None,
    ),
    "one size": (network(nn.Flatten(), nn.Linear(160, 2)), 0.75, "Sequential does not run on"),
    "a map": (nn.Conv2d(3, 2, 3), 0.5, r"Conv2d gives \(1, 2, 4, 3\) for images of 0.5 of the"),
    "large enough": (nn.Sequential(nn.Conv2d(3, 2, 8), nn.AdaptiveMaxPool2d(1)), 0.75, None),
    "too small": (nn.Conv2d(3, 2, 8), 0.5, "Kernel size can't be greater than actual input size"),
    "too small in training": (Auxiliary(), 0.75, "Kernel size can't be greater"),
    "large enough for both": (
        nn.Sequential(nn.Upsample(scale_factor=2), Auxiliary()), 0.75, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("model", "side", "said"), REFUSALS.values(), ids=REFUSALS)
def test_why_a_model_does_not_take_smaller_images(model, side, said):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    drawn = torch.get_rng_state()
    reason = refusal(model, IMAGES[:1], side)
    if said is None:
        assert reason is None
    else:
        assert reason is not None
        assert re.search(said, reason)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn)


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (nn.Linear(3, 4), torch.rand(2, 3)),
        (nn.Conv1d(3, 4, 3), torch.rand(2, 3, 9)),
        (nn.Identity(), [IMAGES[0]]),
        (nn.Embedding(3, 4), torch.zeros(2, 3, 4, 4, dtype=torch.int64)),
        (
            detection.ssdlite320_mobilenet_v3_large(
                weights=None, weights_backbone=None, num_classes=3
            ),
            IMAGES,
        ),
    ],
)
def test_detectors_and_what_takes_no_images_are_refused(model, inputs):
    name = type(model).__name__
    said = rf"{name} cannot be compared .*recipes/faster_rcnn_vgg16/train\.py does by --side"
    with pytest.raises(VirtualPoolError, match=said):
        check_resizable(model, inputs)


def test_images_anywhere_among_the_inputs_are_enough():
    check_resizable(Scaled(), {"scale": 2.0, "images": IMAGES})
