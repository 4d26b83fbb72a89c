import pytest
import torch
from torch import nn
from torchvision.models import detection

from virtualpool import VirtualPoolError
from virtualpool.measure import at_half_resolution


class Detector(nn.Module):
    """Takes a list of images, and a threshold."""

    def forward(self, images, threshold=0.5, mask=None):
        return [image.mean((1, 2)) > threshold for image in images]


IMAGES = torch.rand(2, 3, 9, 12)
INPUTS = {
    "even and odd sides": (nn.Conv2d(3, 4, 3), IMAGES, [(2, 3, 5, 6)]),
    "positional": (nn.Conv2d(3, 4, 3), (IMAGES,), [(2, 3, 5, 6)]),
    "a list of images": (Detector(), [IMAGES[0], IMAGES[1, :, 1:]], [(3, 5, 6), (3, 4, 6)]),
    "keywords": (Detector(), {"images": [IMAGES[0]], "threshold": 0.1}, [(3, 5, 6)]),
    "a mask of whole numbers": (
        Detector(),
        ([IMAGES[0]], 0.5, torch.ones(9, 12, 1, dtype=torch.int64)),
        [(3, 5, 6), (9, 12, 1)],
    ),
}


@pytest.mark.parametrize(("model", "inputs", "shapes"), INPUTS.values(), ids=INPUTS)
def test_every_image_has_half_its_side(model, inputs, shapes):
    same, half = at_half_resolution(model, inputs)
    assert same is model
    assert type(half) is type(inputs)
    assert [tuple(tensor.shape) for tensor in tensors_in(half)] == shapes


def tensors_in(value):
    if isinstance(value, torch.Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value
    return [
        tensor
        for item in items
        if isinstance(item, torch.Tensor | list | tuple)
        for tensor in tensors_in(item)
    ]


@pytest.mark.parametrize(
    ("model", "inputs", "said"),
    [
        (nn.Linear(3, 4), torch.rand(2, 3), "hold no image"),
        (nn.Embedding(3, 4), torch.zeros(2, 3, 4, 4, dtype=torch.int64), "hold no image"),
        (nn.Sequential(nn.Flatten(), nn.Linear(3 * 9 * 12, 2)), IMAGES, r"\(2, 3, 5, 6\)"),
        (nn.Conv2d(3, 4, 7), IMAGES, "Conv2d does not run on .*Kernel size"),
    ],
)
def test_no_half_without_images_or_for_a_model_of_one_size(model, inputs, said):
    with pytest.raises(VirtualPoolError, match=said):
        at_half_resolution(model, inputs)


def test_the_model_is_as_before():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout()).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    at_half_resolution(model, IMAGES)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        # The side of the network's own input is a multiple of 32.
        ("fasterrcnn_mobilenet_v3_large_fpn", {"min_size": 128, "max_size": 200}, (64, 96)),
        ("ssdlite320_mobilenet_v3_large", {}, (160, 160)),
    ],
)
def test_a_detector_resizes_images_to_half_the_side(name, options, size):
    model = getattr(detection, name)(
        weights=None, weights_backbone=None, num_classes=3, **options
    ).eval()
    images = [torch.rand(3, 100, 150)]
    half, same = at_half_resolution(model, images)
    assert same is images
    seen = []
    for each in (model, half):
        each.get_submodule("backbone").register_forward_pre_hook(
            lambda _, given: seen.append(tuple(given[0].shape[2:]))
        )
        each(images)
    assert seen[1] == size
    assert seen[0] == tuple(2 * side for side in size)
