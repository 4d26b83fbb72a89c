"""Walks that hold their maps in memory, in files, and that leave the path of the first batch."""

import logging
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import virtualpool as vp
from virtualpool.recover import memories
from virtualpool.recover.reconstruction import reconstruct


class Keeping(nn.Module):
    """Keeps a tensor of one forward, and goes on from it in all others."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 8, 3, padding=1)
        self.two = nn.Conv2d(8, 8, 3, padding=1)
        self.grid: Any = None

    def forward(self, images: Tensor) -> Tensor:
        x = self.one(images).relu_()
        if self.grid is None:
            self.grid = torch.linspace(0, 1, 20 * 20).view(20, 20) * 2
        x = x + self.grid
        x += self.two(x).relu()
        return x.mean((2, 3))


class Shortcut(nn.Module):
    """Adds a layer's map to one that an earlier layer reads."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.one, self.two = (nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images).relu()
        out = self.two(self.one(x).relu())
        out += x
        return out.mean((2, 3))


class Branching(nn.Module):
    """Takes another path for dark images."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.extra, self.head = (
            nn.Sequential(nn.Conv2d(inputs, 8, 3, padding=1), nn.ReLU()) for inputs in (3, 8, 8)
        )

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        if images.mean() > 0:
            x = self.extra(x)
        return self.head(x).mean((2, 3))


def images(count: int = 24, size: int = 20) -> Tensor:
    noise = torch.randn(count, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    return nn.functional.interpolate(noise, (size, size), mode="bicubic")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def weights(model: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(model.parameters())


@pytest.mark.parametrize("memory", [0.0, 1e-3])
@pytest.mark.parametrize("smallest", [0, 4096])
@pytest.mark.parametrize("make", [Keeping, Shortcut])
def test_maps_in_files_lead_to_the_same_weights(make, memory, smallest, monkeypatch):
    monkeypatch.setattr(memories, "_SMALLEST", smallest)
    original = make().eval()
    pooled = vp.apply(original, images(1))
    batches = images().split(4)
    held = reconstruct(pooled, original, batches)
    filed = reconstruct(pooled, original, batches, memory_gib=memory)
    assert torch.equal(weights(held), weights(filed))
    assert torch.equal(held(images()), filed(images()))
    assert not torch.equal(weights(held), weights(pooled))


def test_no_room_for_files_is_said(monkeypatch, tmp_path):
    original = Keeping().eval()
    pooled = vp.apply(original, images(1))

    def full(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(memories.Files, "_save", staticmethod(full))
    with pytest.raises(vp.VirtualPoolError, match=r"No space left.*raise memory_gib"):
        reconstruct(pooled, original, images().split(4), memory_gib=0)


@pytest.mark.parametrize("memory", [0.0, 4.0])
def test_batches_that_take_another_path_are_solved_with_the_others(memory):
    original = Branching().eval()
    bright, dark = images() + 2, images() - 2
    pooled = vp.apply(original, bright[:1])
    batches = [*bright.split(4), *dark.split(4)]  # of each, the fourth is held out
    solved = reconstruct(pooled, original, batches, memory_gib=memory)
    for name in ("stem", "extra", "head"):
        assert not torch.equal(
            solved.get_parameter(f"{name}.0.weight"), pooled.get_parameter(f"{name}.0.weight")
        )
    for some in (bright, dark):
        wanted = original(some)
        assert (solved(some) - wanted).norm() < 0.9 * (pooled(some) - wanted).norm()


def test_what_the_first_batch_does_not_reach_is_named(caplog):
    original = Branching().eval()
    bright, dark = images() + 2, images() - 2
    pooled = vp.apply(original, bright[:1])
    with caplog.at_level(logging.INFO, "virtualpool"):
        solved = reconstruct(pooled, original, [*dark.split(4), *bright.split(4)])
    assert "extra.0 keeps its weights: the first batch does not reach it" in caplog.text
    assert torch.equal(
        solved.get_parameter("extra.0.weight"), original.get_parameter("extra.0.weight")
    )
    assert not torch.equal(weights(solved), weights(pooled))
