"""Bounds against the error of a network that `apply` has pooled."""

import math
import os
import re

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models import DenseNet, mobilenet_v2

import virtualpool as vp
from tests.fuse.networks import networks
from virtualpool.bound import error_bounds
from virtualpool.graph.image_scale import resized
from virtualpool.graph.inputs import tensors

EXAMPLES = int(os.environ.get("VIRTUALPOOL_EXAMPLES", "20"))
KINDS = ["residual", "dense", "inverted bottleneck", "channels", "shared", "block"]
REFUSED = re.compile("comes to|in place|called|as a whole")
ROUNDING = 1e-9


def difference(model: nn.Module, pooled: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """(N,): the norm of the change of all outputs."""
    with torch.no_grad():
        both = [[x.clone() for x in tensors(each(images.clone()))] for each in (model, pooled)]
    changes = [(one - other).flatten(1) for one, other in zip(*both, strict=True)]
    return torch.cat(changes, 1).norm(dim=1)


def assert_bounded(bound: vp.Bound) -> None:
    limit = bound.error * (1 - ROUNDING) - ROUNDING * bound.output
    assert (limit <= bound.bound).all()
    assert (limit <= bound.paper).all()


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="VIRTUALPOOL_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@given(networks(most=5, kinds=KINDS), st.data())
def test_no_error_is_larger_in_random_networks(case, data):
    network, images = case
    names = [site.name for site in vp.sites(network, images) if site.eligible]
    assume(names)
    try:
        bound = vp.error_bound(network, data.draw(st.sampled_from(names)), images)
    except vp.VirtualPoolError as error:
        assume(not REFUSED.search(str(error)))
        raise
    assert_bounded(bound)


CHAIN = nn.Sequential(
    nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2),
    nn.Conv2d(6, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.SiLU(),
    nn.Conv2d(8, 8, 3, padding=1, groups=4), nn.LeakyReLU(0.1), nn.AvgPool2d(3, 2, 1),
    nn.Conv2d(8, 5, 1), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(), nn.Linear(20, 3),
)  # fmt: skip
NETWORKS = {
    "chain": (CHAIN, 17, 1e9),
    "mobilenet": (mobilenet_v2(num_classes=5, width_mult=0.2), 33, 1e20),
    "densenet": (DenseNet(4, (2, 2), 8, num_classes=5), 33, 1e12),  # pyright: ignore[reportArgumentType]
}


@pytest.mark.parametrize(("model", "side", "most"), NETWORKS.values(), ids=list(NETWORKS))
def test_the_error_is_that_of_the_pooled_network(model, side, most):
    model = model.double().eval()
    images = torch.rand(2, 3, side, side + 3, dtype=torch.float64)
    names = [site.name for site in vp.sites(model, images) if site.eligible]
    chosen = names if len(names) < 6 else [names[0], names[len(names) // 2], names[-1]]
    for name, bound in zip(chosen, error_bounds(model, chosen, images), strict=True):
        assert bound.site == name
        pooled = vp.apply(model, images, [name])
        torch.testing.assert_close(bound.error, difference(model, pooled, images))
        assert_bounded(bound)
        assert (bound.error > 0).all()
        assert (bound.bound <= most * bound.error).all()


def test_one_convolution_after_another_by_hand():
    site, after = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 1)
    model = nn.Sequential(site, nn.ReLU(), after).double()
    images = torch.rand(1, 3, 6, 6, dtype=torch.float64)
    bound = vp.error_bound(model, "0", images)
    with torch.no_grad():
        map = site(images).relu()
        change = map - vp.virtual_pool(map[..., ::2, ::2], (6, 6))
    weight = after.weight.detach().flatten(1)
    largest_filter = weight.norm(dim=1).max().item()
    [factor] = bound.factors
    assert factor.name == "2"
    assert factor.norm == pytest.approx(torch.linalg.svdvals(weight)[0].item())
    assert factor.paper == pytest.approx(math.sqrt(4) * largest_filter)
    assert bound.change.item() == pytest.approx(change.norm().item())
    assert bound.bound.item() == pytest.approx(factor.norm * change.norm().item())
    by_the_paper = bound.distance * bound.gradient.item() * math.sqrt(2 * 6 * 6) * factor.paper
    assert bound.paper.item() == pytest.approx(by_the_paper)


def test_the_root_of_the_mean_square_is_no_norm_for_the_paper_s_bound():
    # The proposition's number for the norm of a filter, sqrt(mean^2 + std^2), is too small.
    identity, sums = nn.Conv2d(1, 1, 1, bias=False), nn.Conv2d(1, 1, 3, padding=1, bias=False)
    nn.init.ones_(identity.weight)
    nn.init.ones_(sums.weight)
    images = torch.zeros(1, 1, 20, 20)
    images[..., 1::2, :], images[..., :, 1::2] = 1.0, 1.0
    images[..., 1::2, 1::2] = math.sqrt(2)
    bound = vp.error_bound(nn.Sequential(identity, sums), "0", images)
    mean_square = sums.weight.mean() ** 2 + sums.weight.std(correction=0) ** 2
    unfused = math.sqrt(2) * bound.gradient * 20 * 3 * mean_square.sqrt().item()
    assert (1.7 * unfused < bound.error).all()
    assert (bound.error <= bound.paper).all()


def test_a_model_that_resizes_its_images():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).double().eval()
    images = torch.rand(2, 3, 12, 13).double()
    smaller = vp.apply(model, images, [], image_scale=0.75)
    found, expected = (
        vp.error_bound(each, "0", x)
        for each, x in ((smaller, images), (model, resized(images, 0.75)))
    )
    assert torch.equal(found.error, expected.error)
    assert torch.equal(found.bound, expected.bound)


def test_it_changes_neither_the_model_nor_the_images():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3)).train()
    images, before = torch.rand(2, 3, 9, 9), [x.clone() for x in model.state_dict().values()]
    kept = images.clone()
    bound = vp.error_bound(model, "0", images)
    assert bound.error.dtype == torch.float64
    assert (
        bound.error.shape == bound.bound.shape == bound.paper.shape == bound.gradient.shape == (2,)
    )
    assert model.training
    assert torch.equal(images, kept)
    after = model.state_dict().values()
    assert all(a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_what_it_says_of_an_image_does_not_depend_on_the_others():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    images = torch.rand(3, 3, 9, 9)
    together = vp.error_bound(model, "0", images)
    alone = vp.error_bound(model, "0", images[1:2])
    for name in ("gradient", "change", "read", "paper", "bound", "error", "output"):
        torch.testing.assert_close(getattr(together, name)[1:2], getattr(alone, name))


def test_a_pooled_model_and_a_constant_image():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 3))
    pooled = vp.apply(model, torch.rand(1, 3, 9, 9), ["2"])
    assert_bounded(vp.error_bound(pooled, "0", torch.rand(2, 3, 9, 9)))
    constant = vp.error_bound(pooled, "0", torch.ones(1, 3, 9, 9))
    assert constant.paper.item() == pytest.approx(0, abs=1e-12)


class Untraceable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))

    def forward(self, x):
        return self.features(x) * (2 if x.sum() > 0 else 1)


class Pyramid(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        return self.head(x), self.head(x[..., ::2, ::2])


SMALL = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 7))


@pytest.mark.parametrize(
    ("model", "site", "images", "message"),
    [
        (SMALL, "conv1", torch.rand(1, 3, 9, 9), "no convolution 'conv1'.*nearest"),
        (SMALL, "2", torch.rand(1, 3, 9, 9), "one row"),
        (SMALL, "0", torch.rand(3, 9, 9), r"\(N, C, H, W\).*not \(3, 9, 9\)"),
        (SMALL, "0", torch.rand(0, 3, 9, 9), "at least one"),
        (SMALL, "0", [torch.rand(3, 9, 9)], "not list"),
        (SMALL, "0", torch.full((1, 3, 9, 9), float("nan")), "not finite"),
        (SMALL, "0", torch.rand(1, 2, 9, 9), "does not run"),
        (Untraceable(), "features.0", torch.rand(1, 3, 9, 9), "as a whole.*submodule"),
        (Pyramid(), "head", torch.rand(1, 3, 16, 16), "called 2 times"),
        ("vgg16", "0", torch.rand(1, 3, 9, 9), "Module is expected"),
    ],
)
def test_refused(model, site, images, message):
    with pytest.raises(vp.VirtualPoolError, match=message):
        vp.error_bound(model, site, images)
