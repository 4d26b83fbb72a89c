import pytest
import torch
from safetensors.torch import save_file
from tests.fuse.checks import assert_same, run

import virtualpool as vp
from virtualpool.fuse import report_of
from virtualpool.models import unet_vgg16

WIDTHS = (8, 8, 8, 8)
LAYERS = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
KINDS = ("weight", "bias")
SITES = [f"features.{layer}" for layer in LAYERS]
SITES += [f"decoder.{block}.{layer}" for block in range(4) for layer in (0, 3)]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return unet_vgg16(5, widths=WIDTHS).eval()


def test_its_sites_and_the_size_of_its_output(model):
    images = torch.rand(1, 3, 32, 48)
    names = [site.name for site in vp.sites(model, images) if site.eligible]
    assert names == [*SITES, "head"]
    assert model(torch.rand(1, 3, 33, 47)).shape == (1, 5, 33, 47)
    assert unet_vgg16(widths=WIDTHS).head.out_channels == 11


def test_fused_it_interpolates_nothing_but_its_output(model):
    images = torch.rand(1, 3, 32, 48)
    pooled = vp.apply(model, images, SITES)
    fused = vp.fuse(pooled, images)
    report = report_of(fused)
    assert report is not None
    assert [each.asked_by for each in report.interpolations] == [("output",)]
    assert_same(run(fused, images), run(pooled, images), 1e-4)


def test_the_trunk_is_initialised_from_a_file(model, tmp_path):
    weights = model.features.half().state_dict(prefix="features.")
    model.float()
    save_file(weights, tmp_path / "trunk.safetensors")
    loaded = unet_vgg16(3, trunk=tmp_path / "trunk.safetensors", widths=WIDTHS).state_dict()
    assert all(torch.equal(loaded[name], value.float()) for name, value in weights.items())
    assert list(weights) == [f"features.{layer}.{kind}" for layer in LAYERS for kind in KINDS]
    with pytest.raises(vp.VirtualPoolError, match="not the weights of VGG-16's trunk"):
        unet_vgg16(3, trunk=tmp_path / "missing.safetensors", widths=WIDTHS)
