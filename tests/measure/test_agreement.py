import pytest
import torch
from tests.tasks.detection.tiny import tiny_detector
from torch import nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.rpn import AnchorGenerator

import virtualpool as vp
from virtualpool import VirtualPoolError
from virtualpool.measure.agreement import agreement


def test_agreement_counts_equal_decisions_and_averages_cosines():
    original, other = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    original.weight.data = torch.eye(2)
    other.weight.data = torch.tensor([[1.0, 0.0], [2.0, 1.0]])
    found = agreement(other, original, [torch.eye(2)[:1], torch.eye(2)[1:]])
    assert found.samples == 2
    assert found.top1 == 0.5  # the first image's largest output is another one
    assert found.cosine == pytest.approx((1 / 5**0.5 + 1) / 2)


def test_agreement_of_maps_has_no_top1():
    network = nn.Conv2d(3, 4, 3)
    found = agreement(network, network, [(torch.rand(2, 3, 8, 8), torch.zeros(2))])
    assert (found.samples, found.top1, found.cosine) == (2, None, pytest.approx(1))


@pytest.mark.parametrize("place", ["backbone.3", "rpn.head.conv.0.0"])
def test_each_output_of_a_detector_counts_alike(place):
    original, changed = tiny_detector().eval(), tiny_detector().eval()
    images = [torch.rand(3, 30, 40), torch.rand(3, 36, 32)]
    assert agreement(changed, original, [images]).cosine == pytest.approx(1)
    changed.get_parameter(f"{place}.weight").data.mul_(-1)
    pairs = zip(_outputs(original, images), _outputs(changed, images), strict=True)
    scaled = [
        (one / one.norm(dim=1, keepdim=True), other / one.norm(dim=1, keepdim=True))
        for one, other in pairs
    ]
    one, other = (torch.cat(each, 1) for each in zip(*scaled, strict=True))
    expected = (one * other).sum(1) / one.norm(dim=1) / other.norm(dim=1)
    found = agreement(changed, original, [images])
    assert (found.samples, found.top1) == (2, None)
    assert found.cosine == pytest.approx(float(expected.mean()), abs=1e-5)


@torch.no_grad()
def _outputs(detector, images):
    maps = detector.backbone(detector.transform(images)[0].tensors)
    (objects,), (corrections,) = detector.rpn.head([maps])
    return [each.flatten(1) for each in (maps, objects, corrections)]


@pytest.mark.parametrize("name", ["faster_rcnn", "retinanet"])
def test_a_detector_on_larger_or_smaller_images_is_compared_by_its_maps(name):
    original = tiny_detector().eval() if name == "faster_rcnn" else _retinanet()
    images = [torch.rand(3, 30, 40)]
    smaller = vp.apply(original, [images[0]], [], image_scale=0.5)
    assert 0 < agreement(smaller, original, [images]).cosine < 0.999


def _retinanet():
    backbone = tiny_detector().backbone
    anchors = AnchorGenerator(((8, 16),), ((1.0,),))
    return RetinaNet(backbone, 2, min_size=32, max_size=64, anchor_generator=anchors).eval()


class Boxes(nn.Module):
    """As many boxes an image as a detector finds."""

    def forward(self, images: torch.Tensor) -> list[dict[str, torch.Tensor]]:
        return [{"boxes": torch.rand(5, 4), "scores": torch.rand(5)} for _ in images]


@pytest.mark.parametrize("count", [1, 2])
def test_agreement_refuses_what_is_no_output_an_image(count):
    with pytest.raises(VirtualPoolError, match=r"can(not)? be compared"):
        agreement(Boxes(), Boxes(), [torch.rand(count, 3, 8, 8)])


def test_agreement_needs_batches():
    with pytest.raises(VirtualPoolError, match="no batches"):
        agreement(nn.Linear(2, 2), nn.Linear(2, 2), [])
