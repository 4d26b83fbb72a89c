"""Models that see images at another scale are taught by the original's maps on whole images."""

import math
from typing import Any

import pytest
import torch
from tests.tasks.detection.tiny import tiny_detector
from torch import nn
from torch.nn import functional

import virtualpool as vp
from virtualpool.graph.image_scale import attach, resized
from virtualpool.recover.distances import relative_square
from virtualpool.recover.objectives import Distillation
from virtualpool.recover.scaled_maps import ScaledMaps, averaged, scaled
from virtualpool.recover.site_maps import maps_of, site_maps

CPU = torch.device("cpu")
SIZES = [(12, 12), (13, 9), (8, 15)]
SCALES = [0.5, 0.75, 0.875, 1.5]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    ).eval().requires_grad_(False)  # fmt: skip


ENDS = {"0": 2, "2": 5, "5": 7}
"""How many layers give the map of each site."""


def at_scale(model: nn.Module, scale: float) -> nn.Module:
    attach(model, scale)
    return model


def part(student: nn.Module, original: nn.Module, images: torch.Tensor, **weights: Any) -> float:
    """What some weights add to the loss."""
    given: dict[str, Any] = {"temperature": 2.0, "features": 0.0, "labels": 0.0, "sites": 0.0}
    losses = [
        Distillation(original, **each).on(CPU)(student, images) for each in (given, given | weights)
    ]
    return float(losses[1] - losses[0])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("pooled", [[], ["2"], ["0", "5"]])
def test_sites_are_compared_with_averaged_maps(size, scale, pooled):
    original, images = network(), torch.rand(2, 3, *size)
    small = resized(images, scale)
    student = vp.apply(original, images, pooled) if pooled else network()
    distances = []
    for name in pooled or ENDS:
        whole = original[: ENDS[name]](images.clone())
        full = original[: ENDS[name]](small.clone()).shape[2:]
        mode = "area" if scale < 1 else "bilinear"
        wanted = functional.interpolate(whole, list(full), mode=mode)
        wanted = wanted[..., ::2, ::2] if pooled else wanted
        distances.append(relative_square(given_by(student, name, small), wanted))
    found = part(at_scale(student, scale), original, images, sites=1.0)
    assert found == pytest.approx(float(sum(distances)) / len(distances), rel=1e-4)
    assert found > 0.001


def given_by(student: nn.Module, name: str, images: torch.Tensor) -> torch.Tensor:
    """The map of a site, after its activation; a reduced one where it is pooled."""
    last, maps = student.get_submodule(str(ENDS[name] - 1)), []
    handle = last.register_forward_hook(lambda _, __, out: maps.append(out.clone()))
    student(images)
    handle.remove()
    return maps[0]


@pytest.mark.parametrize("scale", SCALES)
def test_the_last_map_and_an_output_that_is_a_map_are_averaged(scale):
    original, images = network(), torch.rand(2, 3, 13, 10)
    small = resized(images, scale)
    maps = [averaged(original[:7](images), original[:7](small).shape[2:]), original[:7](small)]
    expected = float(relative_square(maps[1], maps[0]))
    found = part(at_scale(network(), scale), original, images, features=1.0)
    assert found == pytest.approx(expected, rel=1e-4)
    trunk = original[:7]
    loss = Distillation(trunk, 2.0, 1.0, 0.0).on(CPU)
    given = at_scale(network()[:7].eval(), scale)
    assert float(loss(given, images)) == pytest.approx(expected, rel=1e-4)


def test_batches_of_several_sizes_have_maps_of_several_sizes():
    original, student = network(), at_scale(network(), 0.75)
    loss = Distillation(original, 2.0, 1.0, 0.0, sites=1.0).on(CPU)
    for size in [*SIZES, *SIZES]:
        images = torch.rand(2, 3, *size)
        alone = Distillation(original, 2.0, 1.0, 0.0, sites=1.0).on(CPU)
        assert math.isclose(loss(student, images), alone(student, images), rel_tol=1e-5)


def test_an_original_with_the_same_scale_is_at_no_distance():
    images = torch.rand(2, 3, 13, 10)
    smaller = vp.apply(network(), images, [], image_scale=0.75)
    loss = Distillation(smaller, 2.0, 1.0, 0.0, sites=1.0).on(CPU)
    assert abs(float(loss(smaller, images))) < 1e-6


@pytest.mark.parametrize("scale", [0.5, 0.75, 1.5])
@pytest.mark.parametrize("sites", [[], "all"])
def test_a_detectors_maps_lie_where_its_images_do(scale, sites):
    """It pads images to a multiple of 32: of a ramp each position has its own value."""
    ramp = torch.linspace(0, 1, 96).expand(3, 64, 96)
    detector = tiny_detector(min_size=64, max_size=96).eval()
    for convolution in detector.backbone.modules():
        if isinstance(convolution, nn.Conv2d):
            nn.init.dirac_(convolution.weight)
            convolution.register_parameter("bias", None)
    images = [ramp, 1 - ramp]
    student = vp.apply(detector, images, sites, image_scale=scale)
    found = site_maps(detector, student, images)
    with maps_of(detector, found) as maps:
        detector(images)
    expected = ScaledMaps(detector, scale, found).of(maps, images)
    with maps_of(student, found) as given:
        student(images)
    for name in ("backbone.0", "backbone.3"):
        for ours, theirs in zip(given[name], expected[name], strict=True):
            ours = ours[..., : theirs.shape[2], : theirs.shape[3]]
            inner = (ours - theirs)[..., 1:-2, 1:-2]
            assert inner.abs().max() < 0.15


@pytest.mark.parametrize(
    ("given", "size", "expected"),
    [
        ([[1.0, 3.0], [5.0, 7.0]], (2, 2), [[1.0, 3.0], [5.0, 7.0]]),
        ([[1.0, 3.0], [5.0, 7.0]], (1, 2), [[3.0, 5.0]]),
        ([[1.0, 2.0, 3.0]], (1, 2), [[1.5, 2.5]]),
        ([[0.0, 4.0]], (1, 4), [[0.0, 1.0, 3.0, 4.0]]),
        ([[0.0, 4.0], [2.0, 2.0]], (1, 4), [[1.0, 1.5, 2.5, 3.0]]),
    ],
)
def test_a_map_at_another_size(given, size, expected):
    found = averaged(torch.tensor([[given]]), size)
    torch.testing.assert_close(found, torch.tensor([[expected]]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_map_of_any_dtype_is_scaled(dtype):
    x = torch.rand(1, 2, 8, 8).to(dtype)
    expected = scaled(x.float(), 0.5, (4, 4))
    found = scaled(x, 0.5, (4, 4))
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, atol=1e-2, rtol=0)
