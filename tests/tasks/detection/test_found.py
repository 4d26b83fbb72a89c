import pytest
import torch
from torch import nn

from virtualpool import VirtualPoolError
from virtualpool.tasks.detection.found import found_in


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (nn.Conv2d(3, 4, 3), "Conv2d cannot be called with a list of images"),
        (nn.Identity(), "Identity gives a list; a list with a dict of boxes, scores and labels"),
    ],
)
def test_what_is_no_detector_is_refused(model, said):
    with pytest.raises(VirtualPoolError, match=said):
        found_in([torch.zeros(3, 8, 8)], model)
