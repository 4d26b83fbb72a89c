"""The networks that `interpolation_share.py` times, and the arithmetic of `transposed.py`."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import virtualpool as vp
from benchmarks.speed.interpolation import clocked, given_maps, interpolated


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 13, 16)


@pytest.fixture
def pooled(images: Tensor) -> nn.Module:
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 3, padding=1), nn.ReLU()]
    return vp.apply(nn.Sequential(*layers).eval(), images, "all")


@torch.no_grad()
def test_maps_that_are_interpolated(pooled: nn.Module, images: Tensor) -> None:
    assert [map.shape for map in interpolated(pooled, images)] == [
        (2, 4, 13, 16),
        (2, 5, 13, 16),
    ]
    # The output is needed in full, the map before it is not.
    assert len(interpolated(vp.fuse(pooled, images), images)) == 1


@torch.no_grad()
def test_the_network_whose_maps_lie_ready(pooled: nn.Module, images: Tensor) -> None:
    maps, without = interpolated(pooled, images), given_maps(pooled)
    output, *reduced = without(images, *maps)
    assert not interpolated(lambda it: without(it, *maps), images)
    torch.testing.assert_close(output, pooled(images))
    for small, full in zip(reduced, maps, strict=True):
        torch.testing.assert_close(vp.virtual_pool(small, (full.shape[-2], full.shape[-1])), full)
    # It reads the maps that it is given, not some that it makes.
    changed = without(images, maps[0] + 1, maps[1])[2]
    assert not torch.allclose(changed, reduced[1])


@torch.no_grad()
def test_shares_by_the_clock(pooled: nn.Module, images: Tensor) -> None:
    shares = clocked(pooled, images, duration_s=0.01)
    assert len(shares) >= 7
    assert all(0 < share < 1 for share in shares)


def test_the_papers_arithmetic(program: Callable[..., None], tmp_path: Path) -> None:
    program("accuracy.transposed", "--markdown", tmp_path / "tables.md")
    tables = (tmp_path / "tables.md").read_text()
    assert "| as printed | 301,056 | 1,849,688,064 | 0.016% |" in tables
    # 8 multiply-accumulates a sample and channel, against 9 for each of 64 channels.
    assert f"| 6,422,528 | 462,422,016 | {8 / (9 * 64):.3%} |" in tables
