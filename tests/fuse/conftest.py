"""What the tests of fusing share: pooled networks and their fused equals."""

from typing import Any

import torch
from torch import Tensor, nn

import virtualpool as vp


def relative_error(given: Tensor, expected: Tensor) -> float:
    """The distance of two tensors, relative to the expected one's length."""
    given, expected = given.detach(), expected.detach()
    return float((given - expected).norm() / expected.norm().clamp_min(1e-30))


def with_statistics(model: nn.Module) -> nn.Module:
    """Gives batch norms statistics and weights that matter, and the model float64 and eval."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None  # noqa: PT018
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
    return model.double().eval()


def assert_fused_equals_pooled(pooled: nn.Module, images: Any, *others: Any) -> nn.Module:
    """Fuses on images, and compares on these and on others."""
    fused = vp.fuse(pooled, images)
    with torch.no_grad():
        for each in (images, *others):
            expected, given = pooled(each), fused(each)
            assert given.shape == expected.shape
            assert relative_error(given, expected) < 1e-10
    return fused
