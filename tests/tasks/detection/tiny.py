"""A detector of torchvision that is small enough to train in a test."""

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign


class Backbone(nn.Sequential):
    out_channels = 8


def tiny_detector(classes: int = 1, **options) -> FasterRCNN:
    """Of 30 x 40 images; its sites are two convolutions of the backbone and the head's three."""
    torch.manual_seed(0)
    backbone = Backbone(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    )  # fmt: skip
    detector = FasterRCNN(
        backbone,
        rpn_anchor_generator=AnchorGenerator(((8, 16),), ((1.0,),)),
        box_roi_pool=MultiScaleRoIAlign(["0"], 3, 2),
        box_head=nn.Sequential(nn.Flatten(), nn.Linear(72, 16), nn.ReLU()),
        box_predictor=FastRCNNPredictor(16, classes + 1),
        **{"min_size": 32, "max_size": 64, "rpn_post_nms_top_n_test": 5} | options,
    )
    for layer in detector.get_submodule("rpn.head").modules():
        if isinstance(layer, nn.Conv2d):
            # Torchvision's start is near zero, and a map of almost nothing is no aim.
            nn.init.normal_(layer.weight, std=0.1)
    return detector


def batches(count: int = 3) -> list[tuple[list[Tensor], list[dict[str, Tensor]]]]:
    """Dark images of two sizes, with a light square each."""
    made = []
    for place in range(count):
        images, targets = [], []
        for height, width in ((30, 40), (36, 32)):
            image = torch.zeros(3, height, width)
            left, top = 4 + place, 2 + 2 * place
            image[:, top : top + 12, left : left + 14] = 1
            images.append(image)
            box = torch.tensor([[left, top, left + 14, top + 12]], dtype=torch.float32)
            targets.append({"boxes": box, "labels": torch.ones(1, dtype=torch.int64)})
        made.append((images, targets))
    return made
