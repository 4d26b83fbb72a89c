import copy

import pytest
import torch
from torch import nn
from torchvision.models import vgg16

import virtualpool as vp
from virtualpool import VirtualPoolError
from virtualpool.measure import macs

COUNTED_BY_HAND = {
    "3x3, padding 1": (nn.Conv2d(3, 8, 3, padding=1), (1, 3, 10, 12), 8 * 3 * 9 * 10 * 12),
    "stride 2, odd size": (nn.Conv2d(3, 8, 3, 2, 1), (1, 3, 11, 13), 8 * 3 * 9 * 6 * 7),
    "stride per axis": (nn.Conv2d(3, 8, 1, (1, 2)), (1, 3, 10, 12), 8 * 3 * 10 * 6),
    "5x3, no padding": (nn.Conv2d(3, 8, (5, 3)), (1, 3, 10, 12), 8 * 3 * 15 * 6 * 10),
    "groups": (nn.Conv2d(8, 16, 3, groups=4, padding=1), (1, 8, 5, 6), 16 * 2 * 9 * 5 * 6),
    "depthwise": (nn.Conv2d(8, 8, 3, groups=8, padding=1), (1, 8, 5, 6), 8 * 9 * 5 * 6),
    "dilation": (nn.Conv2d(3, 8, 3, dilation=2), (1, 3, 10, 12), 8 * 3 * 9 * 6 * 8),
    "bias is free": (nn.Conv2d(3, 8, 1, bias=True), (1, 3, 10, 12), 8 * 3 * 10 * 12),
    "linear": (nn.Linear(20, 7), (1, 20), 20 * 7),
    "a batch counts once": (nn.Conv2d(3, 8, 3), (5, 3, 10, 12), 8 * 3 * 9 * 8 * 10),
    "not counted": (nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2)), (1, 3, 4, 4), 0),
}


@pytest.mark.parametrize(
    ("model", "shape", "expected"), COUNTED_BY_HAND.values(), ids=COUNTED_BY_HAND
)
def test_counts_what_a_hand_counts(model, shape, expected):
    assert macs(model, torch.zeros(shape)) == expected


def test_attention_is_counted_without_its_fast_path():
    # The fused operators that eval mode could take have no formula in the counter.
    model = nn.TransformerEncoderLayer(16, 4, dim_feedforward=32, batch_first=True)
    projections = 4 * 16 * 16 + 2 * 16 * 32
    attention = 2 * 10 * 16
    assert macs(model, torch.zeros(1, 10, 16)) == 10 * (projections + attention)


def test_the_papers_factor_of_four():
    features, image = vgg16().features, torch.zeros(1, 3, 64, 64)
    pooled = vp.apply(features, image, "all")
    assert len(vp.plan_of(pooled).sites) == 13
    assert macs(features, image) == 4 * macs(pooled, image)


def test_the_model_stays_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.5))
    model[2].eval()
    before, flags = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    images = torch.rand(4, 3, 8, 8)
    random_state = torch.get_rng_state()
    macs(model, images)
    assert [m.training for m in model.modules()] == flags
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(VirtualPoolError, match=r"\(1, 4, 8, 8\)"):
        macs(nn.Conv2d(3, 8, 3), torch.zeros(1, 4, 8, 8))
