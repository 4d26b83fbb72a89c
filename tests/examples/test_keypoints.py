"""The example of keypoints and heat maps, on small networks of both kinds."""

import runpy
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models.detection import KeypointRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads
from torchvision.ops import MultiScaleRoIAlign

EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "keypoints.py"))


def detector() -> KeypointRCNN:
    backbone = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()
    )
    backbone.out_channels = 8  # pyright: ignore[reportArgumentType]
    return KeypointRCNN(
        backbone,
        num_classes=2,
        min_size=64,
        max_size=64,
        box_detections_per_img=2,
        rpn_anchor_generator=AnchorGenerator(((16,),), ((1.0,),)),
        box_roi_pool=MultiScaleRoIAlign(["0"], 7, 2),
        keypoint_roi_pool=MultiScaleRoIAlign(["0"], 14, 2),
        keypoint_head=KeypointRCNNHeads(8, (8, 8)),
        keypoint_predictor=nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1),
    )


@pytest.mark.parametrize(
    ("model", "inputs", "parts"),
    [
        pytest.param(detector, [torch.rand(3, 64, 64)], EXAMPLE["PARTS"], id="detector"),
        pytest.param(
            lambda: EXAMPLE["heat_maps"](3, 8), torch.rand(1, 3, 64, 64), (None,), id="heat maps"
        ),
    ],
)
def test_every_step_is_equal(model, inputs, parts, tmp_path):
    torch.manual_seed(0)
    pooled, equal, *exported = EXAMPLE["deployed"](model().eval(), inputs, tmp_path, parts)
    assert "0 fused" not in pooled
    assert float(equal.split()[5]) < 1e-4, equal
    assert len(exported) == len(parts)
    assert all("Right in ONNX Runtime" in report for report in exported)
