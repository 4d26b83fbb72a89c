"""`by_reconstruction` in a round, and its output on a terminal."""

import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import virtualpool as vp
from virtualpool.plan import Plan
from virtualpool.recover.round import Round, as_recoveries


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def original() -> nn.Module:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        layers = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1)
        return nn.Sequential(*layers).eval()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def _round(folder: Path, model: nn.Module, told: list[Any]) -> Round:
    return Round(
        1, (), vp.plan_of(model), folder / "round-01", None, None, lambda _: vp.Score(0.0),
        lambda *each: told.append(each),
    )  # fmt: skip


def test_it_says_that_it_reconstructs_and_which_layer(original, images, tmp_path):
    told: list[Any] = []
    pooled = vp.apply(original, images[:1])
    before = {name: value.clone() for name, value in pooled.state_dict().items()}
    vp.by_reconstruction(original, [images])(pooled, _round(tmp_path, pooled, told))
    assert any(not torch.equal(value, before[name]) for name, value in pooled.state_dict().items())
    assert {stage for stage, *_ in told} == {"round-01 reconstruction"}
    assert [each[3] for each in told] == ["0", "2", ""]


def test_an_unmodified_model_stays_as_it_is(original, images, tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    before = model.get_parameter("0.weight").clone()
    current = _round(tmp_path, model, [])
    assert current.plan == Plan()
    vp.by_reconstruction(original, [images])(model, current)
    assert torch.equal(model.get_parameter("0.weight"), before)


def test_a_terminal_sees_the_layers(original, images, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    vp.reconstruct(vp.apply(original, images[:1]), original, [images])
    assert "reconstruction" in sys.stderr.getvalue()  # pyright: ignore
    assert "2/2" in sys.stderr.getvalue()  # pyright: ignore


def test_recoveries_are_a_tuple(original, images):
    one, other = (vp.by_reconstruction(original, [images]) for _ in range(2))
    assert as_recoveries(one) == as_recoveries([one]) == (one,)
    assert as_recoveries((one, other)) == (one, other)
