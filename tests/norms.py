"""Batch norm whose statistics stay, as libraries have it under several names."""

import torch
from torch import Tensor, nn

NAMES = ("weight", "bias", "running_mean", "running_var")


class FrozenNorm(nn.Module):
    """Batch norm whose statistics stay, under a name that nobody knows."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name in NAMES:
            self.register_buffer(name, torch.empty(channels))
        with_values(self)

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        shift = self.bias - self.running_mean * scale
        return scale.reshape(1, -1, 1, 1), shift.reshape(1, -1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale, shift = self.scale_and_shift()
        return x * scale + shift


def with_values(norm: nn.Module) -> nn.Module:
    """Another number for each channel, and for each of the four."""
    for number, name in enumerate(NAMES):
        buffer = norm.get_buffer(name)
        buffer.copy_(torch.linspace(0.5, 1 + number, len(buffer)))
    return norm
