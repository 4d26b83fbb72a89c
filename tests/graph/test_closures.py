"""A copy of a model has no function that refers to the original."""

import functools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from virtualpool import Frontier, VirtualPoolError, apply, sites
from virtualpool.graph.state import copy_of
from virtualpool.measure.bench import Bench
from virtualpool.recover.objectives import teacher

IMAGES = torch.rand(1, 3, 8, 8)
SHARED: dict[str, torch.Tensor] = {}
LOG: list[torch.Size] = []


def record(store, module, given, out):
    store["low"] = out


class Features(nn.Module):
    """Reads the map that a hook has stored."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.head = nn.Conv2d(4, 2, 1)
        self.kept: dict[str, torch.Tensor] = {}

    def keep(self, module, given, out):
        self.kept["low"] = out

    def forward(self, images):
        self.body(images)
        return self.head(self.kept["low"])


def by_self(model):
    model.body[0].register_forward_hook(lambda module, given, out: model.keep(module, given, out))


def by_container(model):
    store = model.kept
    model.body[0].register_forward_hook(lambda module, given, out: store.update(low=out))


def by_default(model):
    def keep(module, given, out, store=model.kept):
        store["low"] = out

    model.body[0].register_forward_hook(keep)


def by_global(model):
    model.kept = SHARED

    def keep(module, given, out):
        SHARED["low"] = out

    model.body[0].register_forward_hook(keep)


def by_a_function_called(model):
    def inner(out):
        model.kept["low"] = out

    model.body[0].register_forward_hook(lambda module, given, out: inner(out))


def before(model):
    model.head.register_forward_pre_hook(lambda module, given: (model.kept["low"],))


def scaled(model):
    model.activation = lambda x: x * model.head.bias[0]


REFUSED = [
    (by_self, r"The hook .*by_self.* of body\.0 refers to a Features"),
    (by_container, r"The hook .* of body\.0 refers to a dict"),
    (by_default, r"The hook .*keep of body\.0 refers to a dict"),
    (by_global, r"The hook .* of body\.0 refers to a dict"),
    (by_a_function_called, r"The hook .* of body\.0 refers to a Features"),
    (before, "The hook .* of head refers to a Features"),
    (scaled, "The function activation: .* of the model refers to a Features"),
]


def restored(model):
    original: Any = SimpleNamespace(name="original", weights=None)
    return Frontier((original,), Path()).restore(model, "original")


CALLS = [
    copy_of,
    lambda model: sites(model, IMAGES),
    lambda model: apply(model, IMAGES),
    lambda model: teacher(model, torch.device("cpu")),
    Bench.of("cpu", None, channels_last=False).copy_of,
    restored,
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_what_refers_to_the_original_is_refused(change, message):
    model = Features()
    change(model)
    for call in CALLS:
        with pytest.raises(VirtualPoolError, match=message):
            call(model)


def by_method(model):
    model.body[0].register_forward_hook(model.keep)


def by_partial(model):
    model.body[0].register_forward_hook(functools.partial(record, model.kept))


def to_a_list_of_the_user(model):
    by_method(model)
    seen = []
    model.head.register_forward_hook(lambda module, given, out: seen.append(out.shape))
    model.head.register_forward_hook(lambda module, given, out: LOG.append(out.shape))


def with_settings(model):
    by_method(model)
    model.settings = settings = {"slope": 0.1}
    model.activation = lambda x: torch.nn.functional.leaky_relu(x, settings["slope"])


@pytest.mark.parametrize("change", [by_method, by_partial, to_a_list_of_the_user, with_settings])
def test_what_is_copied_or_is_not_of_the_model_stays(change):
    model = Features()
    change(model)
    copied: Any = copy_of(model)
    with torch.no_grad():
        expected = model(IMAGES)
        kept = model.kept["low"]
        torch.testing.assert_close(copied(IMAGES), expected)
        assert model.kept["low"] is kept
        assert copied.kept["low"] is not kept
