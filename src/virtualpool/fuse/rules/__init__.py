"""The rules, one file per family of operations. Importing this registers them."""

from virtualpool.fuse.rules import (
    channels,
    constants,
    convolution,
    permuted,
    pointwise,
    pooling,
    recovery,
    regions,
)

__all__ = [
    "channels",
    "constants",
    "convolution",
    "permuted",
    "pointwise",
    "pooling",
    "recovery",
    "regions",
]
