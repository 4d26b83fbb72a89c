import pytest
import torch
from torch import nn

import virtualpool as vp
from virtualpool.models import CIFAR10_MEAN, CIFAR10_STD, all_cnn_c
from virtualpool.tasks.classification import evaluator, load_data


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VIRTUALPOOL_CACHE", str(tmp_path))


def test_the_trained_network_classifies_the_sample():
    data = load_data("sample:cifar10", batch_size=250)
    score = evaluator(data.test)(all_cnn_c("cifar10"))
    # 0.887 on all 10,000 test images; the standard error on 1,000 is 0.01.
    assert 0.86 < score < 0.91
    assert score.metrics["top5"] > 0.98


def test_it_is_the_network_of_the_paper():
    model = all_cnn_c()
    expected = [
        # kernel, stride, padding, output channels (Springenberg et al., table 1, All-CNN-C)
        (3, 1, 1, 96),
        (3, 1, 1, 96),
        (3, 2, 1, 96),
        (3, 1, 1, 192),
        (3, 1, 1, 192),
        (3, 2, 1, 192),
        (3, 1, 1, 192),
        (1, 1, 0, 192),
        (1, 1, 0, 10),
    ]
    found = [
        (conv.kernel_size[0], conv.stride[0], conv.padding[0], conv.out_channels)
        for conv in model.convs
        if isinstance(conv, nn.Conv2d)
    ]
    assert found == expected


def test_all_nine_convolutions_are_sites():
    sites = vp.sites(all_cnn_c(), torch.zeros(1, 3, 32, 32))
    assert [(site.name, site.eligible) for site in sites] == [
        (f"convs.{n}", True) for n in range(9)
    ]
    assert [site.follows for site in sites] == ["activation"] * 8 + ["conv"]


def test_weights_are_as_shipped():
    before, after = all_cnn_c("cifar10").state_dict(), all_cnn_c("cifar10").state_dict()
    assert list(before) == [f"convs.{n}.{kind}" for n in range(9) for kind in ("weight", "bias")]
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(value.dtype == torch.float32 for value in before.values())


def test_unknown_weights_are_refused():
    with pytest.raises(vp.VirtualPoolError, match="no weights 'imagenet'; there are: cifar10"):
        all_cnn_c("imagenet")  # pyright: ignore[reportArgumentType]


def test_normalisation_is_of_unit_colours():
    assert len(CIFAR10_MEAN) == len(CIFAR10_STD) == 3
    assert all(0 < value < 1 for value in (*CIFAR10_MEAN, *CIFAR10_STD))
