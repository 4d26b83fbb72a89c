"""Detectors of torchvision, and ours: pooled, fused, saved, on images of changing sizes."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads
from torchvision.models.resnet import Bottleneck

import virtualpool as vp
from tests.fuse.checks import run
from tests.shallow import WHOLE_ZOO, without_repetitions
from virtualpool.fuse import report_of
from virtualpool.graph.inputs import tensors
from virtualpool.models import faster_rcnn_vgg16

SMALL = {"min_size": 64, "max_size": 112}
TWO_STAGES = SMALL | {
    "rpn_pre_nms_top_n_test": 40,
    "rpn_post_nms_top_n_test": 8,
    "box_score_thresh": 0.0,
    "box_detections_per_img": 4,
}
ONE_STAGE = {"score_thresh": 0.0, "topk_candidates": 40, "detections_per_img": 8}
WHOLE = {
    "fasterrcnn_resnet50_fpn": TWO_STAGES,
    "fcos_resnet50_fpn": SMALL | ONE_STAGE,
}
# Each part of these is in another one, too: of the whole zoo alone.
ALIKE = {
    "fasterrcnn_mobilenet_v3_large_fpn": TWO_STAGES,
    "fasterrcnn_mobilenet_v3_large_320_fpn": TWO_STAGES,
    "maskrcnn_resnet50_fpn_v2": TWO_STAGES,
    "retinanet_resnet50_fpn": SMALL | ONE_STAGE,
    "ssd300_vgg16": ONE_STAGE,
}
LIGHTER = {
    "ssdlite320_mobilenet_v3_large": ONE_STAGE,
    "fasterrcnn_resnet50_fpn_v2": TWO_STAGES,
    "retinanet_resnet50_fpn_v2": SMALL | ONE_STAGE,
    "keypointrcnn_resnet50_fpn": TWO_STAGES,
    "maskrcnn_resnet50_fpn": TWO_STAGES,
    **(ALIKE if WHOLE_ZOO else {}),
}
OURS = "faster_rcnn_vgg16"


@dataclass(frozen=True)
class Case:
    model: nn.Module
    pooled: nn.Module
    fused: nn.Module
    images: list[Tensor]


def detector(name: str) -> nn.Module:
    """A detector in float64, in eval mode, whose scores differ: equal ones have no order."""
    torch.manual_seed(0)
    if name == OURS:
        options: dict[str, Any] = TWO_STAGES | {"hidden": 32, "anchor_sizes": (16, 32, 64)}
        model: nn.Module = faster_rcnn_vgg16(4, **options)
    else:
        options = (WHOLE | LIGHTER)[name]
        model = getattr(detection, name)(
            weights=None, weights_backbone=None, num_classes=5, **options
        )
        if not WHOLE_ZOO:
            shorten(model)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = 0.1 * torch.randn(module.num_features)
            module.running_var = 0.5 + 1.5 * torch.rand(module.num_features)
        elif isinstance(module, nn.Conv2d) and name.startswith("ssdlite"):
            # Its own weights leave nothing of the image but rounding.
            nn.init.kaiming_normal_(module.weight)
    return model.double().eval()


def shorten(model: nn.Module) -> None:
    """Leaves a block of each stage of a ResNet, two layers of a head, and one of what repeats."""
    for module in [*model.modules()]:
        if isinstance(next(module.children(), None), Bottleneck):
            assert isinstance(module, nn.Sequential)
            del module[1:]
        elif isinstance(module, KeypointRCNNHeads):
            del module[4:]
    without_repetitions(model)


def photographs(*sizes: tuple[int, int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(3, *size, generator=generator, dtype=torch.float64) for size in sizes]


@contextmanager
def proposals_of(model: Any) -> Iterator[list[Tensor]]:
    """The proposals of a detector of two stages; none of another."""
    found: list[Tensor] = []
    if not hasattr(model, "rpn"):
        yield found
        return
    handle = model.rpn.register_forward_hook(lambda _, given, output: found.extend(output[0]))
    try:
        yield found
    finally:
        handle.remove()


def assert_same_findings(model: nn.Module, expected: nn.Module, images: list[Tensor]) -> None:
    with proposals_of(model) as proposals:
        found = run(model, images)
    with proposals_of(expected) as others:
        wanted = run(expected, images)
    assert [set(each) for each in found] == [set(each) for each in wanted]
    assert sum(len(each["boxes"]) for each in found)
    for one, other in zip([*proposals, *tensors(found)], [*others, *tensors(wanted)], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def case_of(name: str) -> Case:
    model, images = detector(name), photographs((64, 80))
    pooled = vp.apply(model, images, "all")
    return Case(model, pooled, vp.fuse(pooled, images), images)


@pytest.fixture(scope="module", params=[OURS, *WHOLE])
def case(request):
    return case_of(request.param)


@pytest.mark.parametrize("name", LIGHTER)
def test_every_detector_is_fused(name):
    case = case_of(name)
    report = report_of(case.fused)
    assert report is not None
    assert not report.left
    assert_same_findings(case.fused, case.pooled, photographs((64, 80), (75, 61)))


def test_every_convolution_is_a_site(case):
    sites = vp.sites(case.model, case.images)
    reasons = {site.reason for site in sites if not site.eligible}
    assert reasons <= {"its output has one row"}
    assert vp.plan_of(case.fused).names == [site.name for site in sites if site.eligible]


def test_nothing_is_left_as_it_was(case):
    report = report_of(case.fused)
    assert report is not None
    interpolated = {site for each in report.interpolations for site in each.sites}
    assert {*report.fused, *interpolated} == set(vp.plan_of(case.pooled).names)
    assert len(report.fused) > len(interpolated)


@pytest.mark.parametrize("sizes", [[(64, 80)], [(97, 64)], [(70, 91), (64, 120), (33, 40)]])
def test_images_of_any_sizes_together(case, sizes):
    assert_same_findings(case.fused, case.pooled, photographs(*sizes))


@pytest.mark.parametrize("case", [OURS, "fcos_resnet50_fpn"], indirect=True)
def test_some_sites(case):
    names = vp.plan_of(case.pooled).names
    chosen = random.Random(0).sample(names, len(names) // 2)
    pooled = vp.apply(case.model, case.images, chosen)
    assert_same_findings(vp.fuse(pooled, case.images), pooled, photographs((75, 90)))


@pytest.mark.parametrize("case", [OURS, "fcos_resnet50_fpn"], indirect=True)
def test_what_is_saved_is_loaded(case, tmp_path):
    path = tmp_path / "fused.safetensors"
    vp.save(case.fused, path)
    for loaded, saved in (
        (vp.load(case.model, path), case.fused),
        (vp.load(case.model, path, unfused=True), case.pooled),
    ):
        found, expected = run(loaded, case.images), run(saved, case.images)
        assert all(map(torch.equal, tensors(found), tensors(expected)))


def test_it_trains_as_it_is_written(case):
    images = photographs((64, 80), (70, 66))
    targets = [
        {"boxes": torch.tensor([[4.0, 6, 40, 50], [20, 9, 60, 44]]), "labels": torch.tensor([1, 3])}
        for _ in images
    ]
    written, fused = case.pooled, vp.fuse(case.pooled, case.images, training=True)
    losses, gradients = [], []
    for model in (written, fused):
        torch.manual_seed(0)
        model.train().zero_grad()
        loss: Any = model([image.clone() for image in images], targets)
        losses.append(torch.stack([*loss.values()]))
        losses[-1].sum().backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
        model.eval()
    torch.testing.assert_close(*losses, rtol=1e-9, atol=1e-9)
    for one, other in zip(*gradients, strict=True):
        assert (one - other).norm() <= 1e-8 * (1 + other.norm())
