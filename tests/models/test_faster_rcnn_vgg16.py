from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import vgg16

import virtualpool as vp
from virtualpool.models import VGG16Trunk, faster_rcnn_vgg16

IMAGES = [torch.rand(3, 64, 80)]


def small(**options: Any) -> Any:
    sizes: dict[str, Any] = {"hidden": 16, "min_size": 64}
    return faster_rcnn_vgg16(3, **sizes | options)


def test_the_sites_are_those_of_the_paper():
    sites = {site.name: site for site in vp.sites(small(), IMAGES)}
    trunk = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    expected = [f"backbone.features.{layer}" for layer in trunk] + ["rpn.head.conv.0.0"]
    assert [name for name in sites if "logits" not in name and "pred" not in name] == expected
    assert all(sites[name].follows == "activation" for name in expected)
    before_pool = [name for name in sites if sites[name].before_pool]
    assert before_pool == [f"backbone.features.{layer}" for layer in (2, 7, 14, 21)]
    assert sites["backbone.features.28"].out_shape[-2:] == (4, 6)  # 64 x 96, by a stride of 16


def test_the_proposals_begin_from_three_sizes_in_three_proportions():
    model: Any = faster_rcnn_vgg16(20)
    assert model.rpn.anchor_generator.sizes == ((128, 256, 512),)
    assert model.rpn.anchor_generator.num_anchors_per_location() == [9]
    transform = model.transform
    assert (transform.min_size, transform.max_size) == ((600,), 1000)
    predictor = model.roi_heads.box_predictor.cls_score
    assert (predictor.in_features, predictor.out_features) == (4096, 21)


def test_the_trunk_is_initialised_from_a_file(tmp_path):
    torch.manual_seed(1)
    features = vgg16(weights=None).features.half()
    path = tmp_path / "trunk.safetensors"
    save_file(features.state_dict(prefix="features."), path)
    model = small(trunk=path)
    for name, value in features.state_dict().items():
        loaded = model.backbone.state_dict()[f"features.{name}"]
        assert loaded.dtype == torch.float32
        torch.testing.assert_close(loaded, value.float(), rtol=0, atol=0)


@pytest.mark.parametrize("content", [None, b"no weights", {}, {"features.0.weight": 1}])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "trunk.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        save_file({name: torch.zeros(value) for name, value in content.items()}, path)
    with pytest.raises(vp.VirtualPoolError, match=r"trunk\.safetensors: not the weights of VGG"):
        small(trunk=path)


def test_a_trunk_has_a_stride_of_16():
    assert VGG16Trunk()(torch.zeros(1, 3, 33, 64)).shape == (1, 512, 2, 4)
