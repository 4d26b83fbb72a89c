"""The question of every test of fusing: does the fused model compute the same as the pooled one?"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

import virtualpool as vp
from virtualpool.fuse import Report, report_of
from virtualpool.graph import random_numbers
from virtualpool.graph.inputs import map_tensors, tensors


def run(model: nn.Module, *inputs: Any) -> Any:
    """A model's outputs for copies of inputs, always with the same random numbers."""
    random_numbers.seed(0)
    with torch.no_grad():
        return model(*map_tensors(torch.clone, inputs))


def assert_same(actual: Any, expected: Any, tolerance: float = 1e-10) -> None:
    """The same structure, and tensors that differ by `tolerance` of their largest value."""
    assert type(actual) is type(expected)
    pairs = list(zip(tensors(actual), tensors(expected), strict=True))
    assert pairs
    for one, other in pairs:
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        assert torch.equal(one.isfinite(), other.isfinite())
        difference, scale = (one - other)[other.isfinite()], other[other.isfinite()]
        if scale.numel():
            assert difference.abs().max() <= tolerance * scale.abs().max()


def pooled_and_fused(
    model: nn.Module, example: Any, names: Sequence[str] | str = "all"
) -> tuple[Any, Any, Report]:
    """A model with virtual pools, the same fused, and the report of that."""
    pooled = vp.apply(model, example, names)
    fused = vp.fuse(pooled, example)
    report = report_of(fused)
    assert report is not None
    return pooled, fused, report


def fused_alike(
    model: nn.Module, images: Tensor, names: Sequence[str] | str = "all", others: Any = ()
) -> Report:
    """Checks a fused model on its example images and on others; returns its report."""
    pooled, fused, report = pooled_and_fused(model, images, names)
    for each in (images, *others):
        assert_same(run(fused, each), run(pooled, each))
    return report


def images(height: int = 12, width: int = 13, channels: int = 3, batch: int = 2) -> Tensor:
    """Random images in float64, the same for the same shape."""
    generator = torch.Generator().manual_seed(height * 100 + width)
    return torch.rand(batch, channels, height, width, generator=generator, dtype=torch.float64)
