"""`class_count` of every kind of torchvision's detectors."""

import pytest
from torch import nn
from torchvision.models import detection

from virtualpool.tasks.detection.classes import class_count

NAMES = [
    "fasterrcnn_mobilenet_v3_large_320_fpn", "maskrcnn_resnet50_fpn", "keypointrcnn_resnet50_fpn",
    "retinanet_resnet50_fpn", "fcos_resnet50_fpn", "ssd300_vgg16", "ssdlite320_mobilenet_v3_large",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_it_is_what_the_detector_was_built_with(name):
    built = getattr(detection, name)(weights=None, weights_backbone=None, num_classes=5)
    assert class_count(built) == 5


def test_of_another_make_it_is_not_known():
    assert class_count(nn.Conv2d(3, 8, 3)) is None
