"""A model with an image scale: applied, fused, saved, loaded, wrapped, taught and solved."""

import copy
import json
import logging
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import virtualpool as vp
from tests.tasks.detection.tiny import tiny_detector
from virtualpool import VirtualPoolError
from virtualpool.fuse import training_twin
from virtualpool.graph.image_scale import resized, scale_of
from virtualpool.plan import Plan

GENERATOR = torch.Generator().manual_seed(0)


class Network(nn.Module):
    """Takes images as numbers or as bytes, and a factor by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(),
            nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
            nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(4, 3)

    def forward(self, images: Tensor, factor: float = 1.0) -> Tensor:
        x = images.to(self.head.weight.dtype) / 255 if images.dtype is torch.uint8 else images
        return self.head(self.layers(x).mean((2, 3))) * factor


@pytest.fixture
def network() -> Network:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return Network().double().eval()


def images(*size: int) -> Tensor:
    return torch.rand(2, 3, *size, generator=GENERATOR).double()


INPUTS: dict[str, Any] = {
    "odd": images(17, 22),
    "even": (images(16, 16), 2.0),
    "by keyword": {"images": images(15, 15), "factor": 0.5},
    "bytes": (255 * images(18, 13)).to(torch.uint8),
}


def called(model: nn.Module, inputs: Any) -> Tensor:
    if isinstance(inputs, dict):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


BOTH = ["layers.0", "layers.2"]
CASES = [
    ("odd", 0.5, BOTH, "exact"),
    ("odd", 1.5, BOTH, "padded"),
    ("even", 0.7, BOTH, "padded"),
    ("by keyword", 0.75, BOTH, "exact"),
    ("bytes", 0.625, BOTH, "exact"),
    ("odd", 0.7, [], "exact"),
    ("even", 1.25, [], "exact"),
    ("bytes", 0.5, [], "padded"),
]


@pytest.mark.parametrize(("given", "scale", "sites", "border"), CASES)
def test_it_is_the_model_on_resized_images(network, given, scale, sites, border, tmp_path):
    inputs = INPUTS[given]
    small = resized(inputs, scale)
    pooled = vp.apply(network, small, sites, border=border) if sites else network
    scaled = vp.apply(network, inputs, sites, border=border, image_scale=scale)
    expected = called(pooled, small)
    fused = vp.fuse(scaled, inputs)
    path = tmp_path / "scaled.safetensors"
    for model in (scaled, fused):
        torch.testing.assert_close(called(model, inputs), expected)
        assert vp.plan_of(model).names == sites
        assert (vp.plan_of(model).image_scale, scale_of(model)) == (scale, scale)
        vp.save(model, path)
        loaded = vp.load(network, path)
        for_small = vp.load(network, path, resizes=False)
        vp.save(for_small, path)  # the same file again
        for same in (loaded, vp.load(network, path), copy.deepcopy(model)):
            assert torch.equal(called(same, inputs), called(model, inputs))
            assert vp.plan_of(same) == vp.plan_of(model)
        assert torch.equal(called(for_small, small), called(model, inputs))
    assert called(network, inputs).shape == expected.shape  # it is as it was
    assert scale_of(network) == 1


def test_a_scale_joins_a_pooled_model_and_sites_join_a_scaled_one(network):
    x = images(17, 22)
    both = vp.apply(network, x, ["layers.0", "layers.2"], image_scale=0.5)
    pooled = vp.apply(network, x, ["layers.0", "layers.2"])
    scaled = vp.apply(network, x, [], image_scale=0.5)
    for model in (
        vp.apply(pooled, x, [], image_scale=0.5),
        vp.apply(scaled, x, ["layers.0", "layers.2"], image_scale=0.5),
    ):
        torch.testing.assert_close(model(x), both(x))
        assert vp.plan_of(model) == vp.plan_of(both)
        torch.testing.assert_close(vp.fuse(model, x)(x), both(x))


def test_sites_are_those_of_the_resized_images(network):
    scaled = vp.apply(network, images(16, 16), [], image_scale=0.75)
    assert {site.out_shape[2:] for site in vp.sites(scaled, images(16, 16))} == {(12, 12)}
    small = images(12, 12)
    assert vp.measure.macs(scaled, images(16, 16)) == vp.measure.macs(network, small)


def test_what_people_see_of_it(network):
    pooled = vp.apply(network.layers, images(16, 16), ["0"], image_scale=0.75)
    assert "images at scale 0.75, 0 fused" in str(vp.summary(pooled))
    assert "  image scale: 0.75\n" in repr(pooled)
    alone = vp.apply(network, images(16, 16), [], image_scale=0.75)
    assert str(vp.summary(alone)).endswith("0 of 3 convolutions pooled, images at scale 0.75")
    assert "image_scale=0.75" in repr(vp.plan_of(alone))


def test_wrappers_and_compilation_resize_too(network):
    x = images(17, 22)
    scaled = vp.apply(network, x, ["layers.0"], image_scale=0.5)
    compiled: Any = torch.compile(scaled, backend="eager")
    for wrapped in (nn.DataParallel(scaled), compiled):
        assert torch.equal(wrapped(x), scaled(x))
        assert vp.plan_of(wrapped).image_scale == 0.5


def test_a_training_twin_sees_what_it_sees(network):
    x = images(17, 22)
    scaled = vp.apply(network, x, ["layers.0", "layers.2"], image_scale=0.5).train()
    twin = training_twin(scaled, x)
    torch.testing.assert_close(twin(x), scaled(x))
    twin(x).sum().backward()
    assert scaled.get_parameter("layers.0.weight").grad is not None


@pytest.mark.parametrize("scale", [0, -0.5, 17, float("nan"), float("inf"), True, None, "0.5"])
def test_what_is_no_scale_is_refused_by_name(network, scale):
    with pytest.raises(VirtualPoolError, match=r"image_scale is .*above 0, up to 16"):
        vp.apply(network, images(16, 16), [], image_scale=scale)


def test_another_scale_is_refused(network, tmp_path):
    x, path = images(16, 16), tmp_path / "network.safetensors"
    vp.save(network, path)
    scaled = vp.apply(network, x, [], image_scale=0.5)
    with pytest.raises(VirtualPoolError, match=r"has image scale 0\.5, and 1 is asked for"):
        vp.apply(scaled, x, ["layers.0"])
    with pytest.raises(VirtualPoolError, match=r"has images at scale 0\.5 already"):
        vp.load(scaled, path)


def test_a_model_around_a_scaled_one_is_not_saved(network, tmp_path):
    around = nn.Sequential(vp.apply(network, images(16, 16), [], image_scale=0.5))
    assert vp.plan_of(around) == Plan()
    with pytest.raises(VirtualPoolError, match="0 of Sequential resizes its images"):
        vp.save(around, tmp_path / "around.safetensors")


def test_the_plan_holds_the_scale_where_it_is_not_one():
    assert "image_scale" not in Plan().to_json()
    plan = Plan(image_scale=0.75)
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    older = {"version": 2, "sites": []}
    assert Plan.from_json(older).image_scale == 1
    for wrong in (0, -1, "0.5", None, True, [], 1e9, float("nan")):
        with pytest.raises(VirtualPoolError):
            Plan.from_json(older | {"image_scale": wrong})


@pytest.mark.parametrize("border", ["exact", "padded"])
def test_reconstruction_matches_positions_at_the_scale(network, border):
    x = images(16, 16).repeat(8, 1, 1, 1) * torch.rand(16, 3, 1, 1, generator=GENERATOR)
    network = network.float()
    scaled = vp.apply(network, x.float(), ["layers.0", "layers.2"], border=border, image_scale=0.75)
    solved = vp.reconstruct(scaled, network, [x.float()])
    whole = network(resized(x.float(), 0.75))
    before, after = ((each(x.float()) - whole).square().mean() for each in (scaled, solved))
    assert after < before
    assert vp.plan_of(solved) == vp.plan_of(scaled)


def test_reconstruction_leaves_a_smaller_image_alone(network, caplog):
    scaled = vp.apply(network, images(16, 16), [], image_scale=0.75)
    with caplog.at_level(logging.INFO, "virtualpool"):
        solved = vp.reconstruct(scaled, network, [images(16, 16)])
    assert "no virtual pool: its weights stay" in caplog.text
    assert torch.equal(solved(images(9, 9) * 0), scaled(images(9, 9) * 0))


def test_a_detector_keeps_its_boxes(tmp_path):
    """It resizes by itself: to sizes that the scale goes into, so boxes are where they were."""
    detector: Any = tiny_detector(min_size=64, max_size=128).eval()
    given = [torch.rand(3, 80, 120, generator=GENERATOR)]
    scaled: Any = vp.apply(detector, given, ["backbone.0"], image_scale=0.5)
    assert (detector.transform.min_size, scaled.transform.min_size) == ((64,), (32,))
    assert (scaled.transform.max_size, scale_of(scaled)) == (64, 0.5)
    found = scaled(given)
    assert found[0]["boxes"][:, 2].max() > 60  # of an image of 120 columns
    fused: Any = vp.fuse(scaled, given)
    torch.testing.assert_close(fused(given)[0]["boxes"], found[0]["boxes"])
    vp.save(scaled, tmp_path / "scaled.safetensors")
    for resizes in (True, False):
        loaded: Any = vp.load(detector, tmp_path / "scaled.safetensors", resizes=resizes)
        assert torch.equal(loaded(given)[0]["boxes"], found[0]["boxes"])
