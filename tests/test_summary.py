"""`summary` of models in each form."""

import copy
import pickle

import pytest
import torch
from torch import nn

import virtualpool as vp

IMAGE = torch.zeros(1, 3, 16, 16)


def chain(*end: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 1), *end)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (chain(), "Sequential: 0 of 2 convolutions pooled"),
        (nn.Linear(2, 2), "Linear: 0 of 0 convolutions pooled"),
        (nn.Conv2d(3, 3, 1), "Conv2d: 0 of 1 convolution pooled"),
    ],
)
def test_a_model_that_is_not_pooled(model, said):
    found = vp.summary(model)
    assert found.sites == ()
    assert str(found) == said


def test_an_unfused_model_says_what_fuses_it():
    found = vp.summary(vp.apply(chain(), IMAGE))
    assert [(each.site, each.form) for each in found.sites] == [
        ("0", "interpolated"),
        ("2", "interpolated"),
    ]
    assert all("virtualpool.fuse" in each.why for each in found.sites)
    assert "2 of 2 convolutions pooled, 0 fused, 2 interpolated" in str(found)


def test_a_fused_model_says_who_needs_a_map():
    pooled = vp.apply(chain(nn.AdaptiveAvgPool2d(1), nn.Flatten()), IMAGE)
    (first, second) = vp.summary(vp.fuse(pooled, IMAGE)).sites
    assert (first.form, second.form) == ("fused", "fused")
    (_, last) = vp.summary(vp.fuse(vp.apply(chain(), IMAGE), IMAGE)).sites
    assert (last.form, last.why) == ("interpolated", "output needs it in full")


def test_wrappers_and_copies_say_the_same():
    fused = vp.fuse(vp.apply(chain(), IMAGE), IMAGE)
    for same in (nn.DataParallel(fused), copy.deepcopy(fused)):
        assert str(vp.summary(same)) == str(vp.summary(fused))


def test_sites_of_a_model_inside_a_model_have_its_name_before_theirs():
    outer = nn.Sequential(vp.fuse(vp.apply(chain(), IMAGE), IMAGE), nn.ReLU())
    assert [each.site for each in vp.summary(outer).sites] == ["0.0", "0.2"]
    assert vp.summary(outer).sites[1].why == "output needs it in full"


class Whole(nn.Module):
    """Its own code cannot be traced, so each of its parts is pooled by itself."""

    def __init__(self):
        super().__init__()
        self.first, self.then = chain(), nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU())

    def forward(self, x):
        x = self.first(x)
        return self.then(x if float(x.sum()) > 0 else -x)


def test_parts_name_their_sites_when_a_model_is_shown_that_is_pooled_in_parts():
    torch.manual_seed(0)
    pooled = vp.apply(vp.apply(Whole(), IMAGE, ["first.0", "then.0"]), IMAGE, "first.2")
    for same in (pooled, copy.deepcopy(pooled), pickle.loads(pickle.dumps(pooled))):
        assert "pooled" not in repr(same).partition("\n")[0]
        assert "pooled sites: 0, 2\n" in repr(same.first)
        assert "pooled sites: 0\n" in repr(same.then)
    assert "pooled sites: 0, 2\n" in repr(vp.fuse(pooled, IMAGE).first)


@pytest.mark.parametrize("sites", [["0"], ["2", "0"]])
def test_a_pooled_model_names_its_sites_when_it_is_shown(sites):
    pooled = vp.apply(chain(), IMAGE, sites)
    assert f"pooled sites: {', '.join(sites)}" in repr(pooled)
    assert "pooled" not in repr(chain())


@pytest.mark.parametrize(("border", "readers"), [("exact", 0), ("padded", 2)])
def test_borders_and_sums_are_told(border, readers):
    model = nn.Sequential(*chain()[:2], Residual(), Residual(), nn.Conv2d(4, 4, 3, 2, 1), nn.ReLU())
    found = vp.summary(vp.apply(model, IMAGE, border=border))
    assert (found.border, found.sums) == (border, 2)
    _, about_border, about_sums, *_ = str(found).splitlines()
    assert about_border.startswith(f"border {border}: ")
    assert (f"{found.padded} convolutions" in about_border) is (border == "padded")
    assert found.padded >= readers
    assert about_sums.startswith("2 sums of recovered maps: ")


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        return (self.conv(x) + x).relu()
