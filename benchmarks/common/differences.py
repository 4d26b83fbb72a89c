"""Whether two models give the same: nothing is timed that computes something else."""

from typing import Any

from torch import Tensor

from virtualpool.graph.inputs import tensors


def difference(found: Any, expected: Any) -> float:
    """The largest difference of two models' outputs, relative to the largest value expected.

    Infinite where shapes differ, or where values are not finite.

    >>> import torch
    >>> difference(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    0.5
    """
    pairs = list(zip(tensors(found), tensors(expected), strict=True))
    return max(_difference(found.double(), expected.double()) for found, expected in pairs)


def _difference(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape or not (found - expected).isfinite().all():
        return float("inf")
    largest = float((found - expected).abs().max())
    return largest / float(expected.abs().max()) if largest else 0.0
