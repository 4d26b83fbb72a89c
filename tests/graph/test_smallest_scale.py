import re

import pytest
import torch
from torch import nn

from virtualpool import VirtualPoolError
from virtualpool.graph.image_scale import scale_of
from virtualpool.graph.smallest_scale import check_scale

IMAGES = torch.rand(1, 3, 32, 24)


def network(kernel: int, *ends: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 2, kernel), nn.BatchNorm2d(2), nn.ReLU(), *ends)


FITTING = [
    (network(7), 0.3),
    (network(7), 4.0),
    (network(3, nn.AdaptiveAvgPool2d(1)), 0.15),
    (network(3, nn.Flatten(), nn.Linear(1320, 2)), 1.0),
]


@pytest.mark.parametrize(("model", "scale"), FITTING)
def test_a_scale_that_fits_is_taken(model, scale):
    state = {name: value.clone() for name, value in model.state_dict().items()}
    check_scale(model, IMAGES, scale)
    assert scale_of(model) == 1
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())


REFUSED = {
    "a kernel": (network(7), 0.25, r"images of 8 x 6 in place of 32 x 24: .*[Kk]ernel size.*"
                 r"smallest image_scale that it takes here is 0\.282\."),
    "a pooling": (network(3, nn.MaxPool2d(8)), 0.2, r"here is 0\.\d+\.$"),
    "no pixel": (nn.Conv2d(3, 2, 1), 0.015, r"not even one pixel.* here is 0\.\d+\."),
    "one size": (network(3, nn.Flatten(), nn.Linear(1320, 2)), 0.5, "of the example alone"),
    "one size, larger": (network(3, nn.Flatten(), nn.Linear(1320, 2)), 2.0, "example alone"),
}  # fmt: skip


@pytest.mark.parametrize(("model", "scale", "said"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused_with_the_smallest_that_does(model, scale, said):
    with pytest.raises(VirtualPoolError, match=f"does not take image_scale={scale:g}.*") as error:
        check_scale(model, IMAGES, scale)
    assert re.search(said, str(error.value))
    if found := re.search(r"here is ([\d.]+)\.$", str(error.value)):
        smallest = float(found[1])
        check_scale(model, IMAGES, smallest)
        with pytest.raises(VirtualPoolError):
            check_scale(model, IMAGES, smallest - 1.5 / 32)


def test_inputs_without_images_are_refused():
    with pytest.raises(VirtualPoolError, match=r"Linear has no images to resize to image_scale=2"):
        check_scale(nn.Linear(3, 2), torch.rand(4, 3), 2)


def test_a_model_that_does_not_run_at_all_is_told_so():
    with pytest.raises(VirtualPoolError, match="does not run on the example inputs"):
        check_scale(network(3), torch.rand(1, 4, 8, 8), 0.5)
