"""The rules, one file per family of operations. Importing this registers them."""

from virtualpool.fuse.rules import (
    border,
    channels,
    constants,
    convolution,
    enlarging,
    permuted,
    pointwise,
    pooling,
    recovery,
    regions,
)

__all__ = [
    "border",
    "channels",
    "constants",
    "convolution",
    "enlarging",
    "permuted",
    "pointwise",
    "pooling",
    "recovery",
    "regions",
]
