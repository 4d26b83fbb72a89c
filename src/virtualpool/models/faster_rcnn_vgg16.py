"""Faster R-CNN on VGG-16: the paper's detector, built of torchvision's parts."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torchvision.models import vgg16
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign

from virtualpool.models.vgg16_trunk import load_trunk

_LAST_POOL = 30
_POOLED_SIDE = 7


class VGG16Trunk(nn.Module):
    """VGG-16's thirteen convolutions with the first four poolings, so with a stride of 16.

    >>> import torch
    >>> VGG16Trunk()(torch.zeros(1, 3, 64, 96)).shape
    torch.Size([1, 512, 4, 6])
    """

    out_channels = 512

    def __init__(self) -> None:
        super().__init__()
        layers = list(vgg16(weights=None).features.children())
        self.features = nn.Sequential(*layers[:_LAST_POOL])

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) normalised images to (N, 512, H // 16, W // 16) maps."""
        return self.features(images)


def faster_rcnn_vgg16(
    classes: int,
    *,
    trunk: Path | str | None = None,
    anchor_sizes: tuple[int, ...] = (128, 256, 512),
    hidden: int = 4096,
    **options: Any,
) -> FasterRCNN:
    """Faster R-CNN of Ren et al. (2015) with a VGG-16 trunk, as in the paper, section 4.3.

    Its sites are the trunk's convolutions, `backbone.features.0` to `backbone.features.28`, and
    the region proposal network's: the 3x3 one, `rpn.head.conv.0.0`, is the paper's.

    Like torchvision's detectors it takes a list of (3, H, W) images in [0, 1], of any sizes, and
    gives a dict of losses in training and of each image its boxes, labels and scores in evaluation.
    It differs from Ren et al. in three things that torchvision does better: RoIAlign instead of RoI
    pooling, boxes regressed with a smooth L1 loss of beta 1/9, and no dropout in the heads.

    Args:
        classes: how many classes the objects have, without the background, which has the label 0.
        trunk: a safetensors file with `features.N.weight` and `features.N.bias` for the trunk, as
            torchvision's `vgg16` names them; without it the trunk begins at random.
        anchor_sizes: sides, in pixels of the resized image, of the boxes that proposals begin from;
            each in the proportions 1:2, 1:1 and 2:1.
        hidden: the width of the two fully connected layers.
        options: options of torchvision's `FasterRCNN`. By default the image's shorter side is 600
            pixels (`min_size`), its longer one at most 1000 (`max_size`), and 300 proposals are
            classified (`rpn_post_nms_top_n_test`).

    Raises:
        VirtualPoolError: the file cannot be read, or holds other weights than the trunk's.

    >>> import torch
    >>> model = faster_rcnn_vgg16(3, hidden=64, min_size=64).eval()
    >>> [found] = model([torch.rand(3, 80, 100)])
    >>> sorted(found), found["boxes"].shape[1]
    (['boxes', 'labels', 'scores'], 4)
    """
    backbone = VGG16Trunk()
    if trunk is not None:
        load_trunk(backbone.features, Path(trunk))
    pooled_values = backbone.out_channels * _POOLED_SIDE**2
    paper = {"min_size": 600, "max_size": 1000, "rpn_post_nms_top_n_test": 300}
    return FasterRCNN(
        backbone,
        rpn_anchor_generator=AnchorGenerator((anchor_sizes,), ((0.5, 1.0, 2.0),)),
        box_roi_pool=MultiScaleRoIAlign(["0"], _POOLED_SIDE, sampling_ratio=2),
        box_head=TwoMLPHead(pooled_values, hidden),
        box_predictor=FastRCNNPredictor(hidden, classes + 1),
        **paper | options,
    )
