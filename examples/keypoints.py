"""Keypoints and heat maps: pooled, fused and exported, with equal outputs at each step.

    pip install '.[onnx]'
    python examples/keypoints.py runs/keypoints

Two networks: torchvision's Keypoint R-CNN, exported by its parts, and a ResNet-18 whose head gives
a map for each joint, exported whole; with one channel the same head gives depth. Their weights are
random here, so this says nothing about accuracy: take your own trained networks.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision.models import resnet18
from torchvision.models.detection import keypointrcnn_resnet50_fpn

import virtualpool as vp
from virtualpool.graph.inputs import tensors

PARTS = ("backbone", "rpn.head", "roi_heads.keypoint_head", "roi_heads.keypoint_predictor")
"""What of Keypoint R-CNN computes; the selection of boxes stays in Python."""


def heat_maps(joints: int, width: int = 128) -> nn.Sequential:
    """A map for each joint at a quarter of the image's size (Xiao, Wu and Wei, 2018)."""
    trunk, given = [*resnet18(weights=None).children()][:-2], 512
    layers: list[nn.Module] = [*trunk]
    for _ in range(3):
        enlarged = nn.ConvTranspose2d(given, width, 4, stride=2, padding=1, bias=False)
        layers += [enlarged, nn.BatchNorm2d(width), nn.ReLU()]
        given = width
    return nn.Sequential(*layers, nn.Conv2d(width, joints, 1))


def deployed(
    model: nn.Module, inputs: Any, folder: Path, parts: tuple[str | None, ...] = (None,)
) -> Iterator[str]:
    """Pools all sites, fuses, and exports each part to ONNX; yields what came of each step.

    Args:
        model: in eval mode.
        inputs: example inputs, as the model takes them.
        folder: for the files.
        parts: qualified names of submodules; None is the whole model.
    """
    pooled = vp.apply(model, inputs, border="padded")
    fused = vp.fuse(pooled, inputs)
    yield str(vp.summary(fused)).splitlines()[0]
    yield f"fused and pooled differ by {difference(fused, pooled, inputs):.1e} at most"
    for part in parts:
        file = folder / f"{(part or 'whole').replace('.', '_')}.onnx"
        yield str(vp.export(fused, file, inputs, original=model, part=part))


@torch.no_grad()
def difference(one: nn.Module, other: nn.Module, inputs: Any) -> float:
    """The largest of the outputs, in parts of the largest output."""
    found, wanted = (
        torch.cat([t.flatten() for t in tensors(each(inputs))]) for each in (one, other)
    )
    return float((found - wanted).abs().max() / wanted.abs().max())


def main(run_dir: str) -> None:
    """Deploys both networks."""
    torch.manual_seed(0)
    detector = keypointrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, min_size=160, max_size=160, box_detections_per_img=4
    ).eval()
    for line in deployed(detector, [torch.rand(3, 160, 160)], Path(run_dir), PARTS):
        print(line, flush=True)
    image = torch.rand(1, 3, 256, 192)
    for line in deployed(heat_maps(17).eval(), image, Path(run_dir)):
        print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
