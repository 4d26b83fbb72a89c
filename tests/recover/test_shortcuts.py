"""Shortcuts beside layers, and layers that are solved for the sum with them."""

from typing import Any

import pytest
import torch
from tests.fuse.networks import with_statistics
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

import virtualpool as vp
from virtualpool.graph.parts import trace
from virtualpool.recover import walk
from virtualpool.recover.layers import call_order, layers_of
from virtualpool.recover.reconstruction import reconstruct
from virtualpool.recover.shortcuts import Shortcut, drift


class Block(nn.Module):
    """A residual block; `form` says how its sum is made."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form, self.drop = form, StochasticDepth(0.5, "row")
        self.one, self.two = nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.down, self.down_norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm(self.two(self.one(x).relu()))
        if self.form == "shortcut first":
            return (x + out).relu()
        if self.form == "in place":
            out += x
            return out.relu_()
        if self.form == "dropped":
            return (self.drop(out) + x).relu()
        if self.form == "projected":
            return (out + self.down_norm(self.down(x))).relu()
        if self.form == "activated":
            return out.relu() + x
        if self.form == "changed on the way":
            return (out + x.flip(1)).relu()
        return out * x


READ = {"body.two": Shortcut("body.one", is_read=True)}
FORMS: dict[str, dict[str, Shortcut]] = {
    "shortcut first": READ,
    "in place": READ,
    "dropped": READ,
    "projected": {"body.down": Shortcut("body.norm", is_read=False)},
    "activated": {},
    "changed on the way": {},
    "multiplied": {},
}


class Net(nn.Module):
    def __init__(self, form: str) -> None:
        super().__init__()
        self.stem, self.body = nn.Conv2d(3, 4, 3, 1, 1), Block(form)

    def forward(self, images: Tensor) -> Tensor:
        return self.body(self.stem(images).relu())


def made(form: str) -> nn.Module:
    torch.manual_seed(0)
    model = Net(form).eval()
    for norm in (model.body.norm, model.body.down_norm):
        with_statistics(norm)
    return model


def images(count: int = 40) -> Tensor:
    noise = torch.randn(count, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    return nn.functional.interpolate(noise, (13, 13), mode="bicubic")


@pytest.mark.parametrize("form", FORMS)
def test_the_shortcut_beside_a_layer_is_found(form):
    model = made(form)
    pooled = vp.apply(model, images(1), ["stem"])
    order = call_order(pooled, lambda: pooled(images(1)))
    layers = layers_of(pooled, model, images(1), order)
    assert {name: it.shortcut for name, it in layers.items() if it.shortcut} == FORMS[form]


@pytest.mark.parametrize("sites", [["stem"], ["stem", "body.two"], "all"], ids=str)
def test_a_layer_beside_a_shortcut_mends_the_sum(sites, monkeypatch):
    model, x = made("in place"), images()
    pooled = vp.apply(model, x[:1], sites)
    with torch.no_grad():
        errors = []
        for _ in range(2):
            solved = reconstruct(pooled, model, x.split(8), steps=0)
            errors.append(float((solved(x) - model(x)).square().mean()))
            monkeypatch.setattr(walk, "drift", lambda pooled, original: None)
    assert errors[0] < 0.98 * errors[1]


CASES: list[tuple[Any, Any, float | None]] = [
    ((1, 2, 3, 4), (1, 2, 3, 4), 2.0),
    ((1, 2, 2, 3), (1, 2, 3, 5), 2.0),
    ((1, 2, 2, 2), (1, 2, 3, 5), None),
    ((1, 3), (1, 3), 2.0),
    ((1, 3), (1, 4), None),
]


@pytest.mark.parametrize(("pooled", "original", "expected"), CASES, ids=str)
def test_drift_is_of_recovered_maps(pooled, original, expected):
    found = drift(torch.ones(pooled), torch.full(original, 3.0))
    assert (found is None) == (expected is None)
    if found is not None:
        assert torch.equal(found, torch.full(original, expected))


def test_the_parts_of_a_model_name_shortcuts_in_full():
    model = nn.Sequential(made("in place"))
    parts = trace(model, images(1)).parts
    assert [part.name for part in parts] == [""]
    pooled = vp.apply(model, images(1), ["0.stem"])
    order = call_order(pooled, lambda: pooled(images(1)))
    assert layers_of(pooled, model, images(1), order)["0.body.two"].shortcut == Shortcut(
        "0.body.one", is_read=True
    )
