"""A tiny network with all that a training keeps a state of, and the rounds to train it in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from virtualpool.plan import Plan
from virtualpool.search import Round, Score

MakeRound = Callable[..., Round]


@pytest.fixture
def network() -> nn.Module:
    """Convolutions, batch norm and dropout; takes (N, 3, 8, 8), gives (N, 4)."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 4),
        )


@pytest.fixture
def batches() -> list[tuple[Tensor, Tensor]]:
    """Five batches of eight images, brighter ones with a higher label."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(4, (40,), generator=generator)
    images = torch.randn(40, 3, 8, 8, generator=generator) + labels[:, None, None, None]
    return list(zip(images.split(8), labels.split(8), strict=True))


@pytest.fixture
def make_round(tmp_path) -> MakeRound:
    """Makes a round; every model has the same score in it."""

    def make(folder: Path | str = "round-01", index: int = 1, **changes: Any) -> Round:
        given = {"learning_rate": None, "epochs": None, "evaluate": weights_seen} | changes
        return Round(index=index, added=("0",), plan=Plan(), directory=tmp_path / folder, **given)

    return make


def weights_seen(model: nn.Module) -> Score:
    first = next(model.parameters()).detach()
    return Score.of(0.5, {"mean": first.mean().item(), "largest": first.abs().max().item()})
