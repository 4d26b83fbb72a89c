from dataclasses import replace

import pytest
import torch
from torch import nn

import virtualpool as vp
from virtualpool import VirtualPoolError
from virtualpool.search.planning.candidates import (
    SCALES,
    at_scale,
    candidates,
    known_scales,
    taken_scales,
)

ONE = vp.sites(nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8))[0]


def named(*names: str, side: int = 8) -> list[vp.Site]:
    return [replace(ONE, name=name, out_shape=(1, 4, side, side)) for name in names]


def of(folder: str, count: int, side: int = 8) -> list[vp.Site]:
    return named(*(f"{folder}.{place}" for place in range(count)), side=side)


@pytest.mark.parametrize(
    ("sites", "expected"),
    [
        (of("convs", 24), {f"convs.{place}": 1 for place in range(24)}),
        (of("convs", 20) + of("convs2", 20, 4), {"convs (8 x 8)": 20, "convs2 (4 x 4)": 20}),
        (
            of("features", 20) + of("features", 6, 4),
            {"features (8 x 8)": 20, "features (4 x 4)": 6},
        ),
        (
            [it for block in range(8) for it in of(f"layer1.{block}", 4)],
            {f"layer1.{block} (8 x 8)": 4 for block in range(8)},
        ),
        (
            [it for block in range(30) for it in of(f"layer{block % 2}.{block}", 2)],
            {"layer0 (8 x 8)": 30, "layer1 (8 x 8)": 30},
        ),
        (named("stem") + of("a", 30), {"stem": 1, "a (8 x 8)": 30}),
        (named(*map(str, range(30))), {"maps (8 x 8)": 30}),
    ],
)
def test_groups_are_blocks_with_maps_of_one_size(sites, expected):
    found = candidates(sites)
    assert {each.name: len(each.sites) for each in found} == expected
    together = [name for each in found for name in each.sites]
    assert sorted(together) == sorted(site.name for site in sites)


@pytest.mark.parametrize("given", [[0], [-0.5], [float("nan")], ["0.5"], [0.5, 99]])
def test_wrong_scales(given):
    with pytest.raises(VirtualPoolError, match="image_scale is"):
        known_scales(given)


def test_scales_are_given_or_usual():
    assert known_scales(None) == [*SCALES]
    assert known_scales([0.5, 1.5, 0.5]) == [1.5, 0.5]
    assert known_scales([]) == []
    with pytest.raises(VirtualPoolError, match="which is always tried"):
        known_scales([1, 0.5])


def test_scales_that_a_network_does_not_take_are_left_out_with_the_reason(network, images):
    assert taken_scales(network, images[:1], [0.75, 0.5]) == ([0.75, 0.5], {})
    fixed = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(400, 2)).eval()
    taken, reasons = taken_scales(fixed, images[:1], [0.75])
    assert not taken
    assert "does not take image_scale=0.75" in reasons[0.75]
    assert taken_scales(network[:2], images[:1], [0.5]) == ([0.5], {})  # it has maps of their size
    smaller = nn.Sequential(network[:2], nn.AvgPool2d(2))
    taken, reasons = taken_scales(smaller, images[:1], [0.5])
    assert not taken
    assert "cannot be judged alike" in reasons[0.5]
    taken, reasons = taken_scales(nn.Linear(3, 2), torch.zeros(1, 3), [0.5])
    assert not taken
    assert "hold no batch of images" in reasons[0.5]


def test_at_a_small_scale_some_sites_have_one_row(network, images):
    every = candidates(vp.sites(network, images[:1]))
    assert at_scale(every, network, images[:1], 0.5) == every
    assert [it.name for it in at_scale(every, network, images[:1], 0.25)] == ["0", "2"]
