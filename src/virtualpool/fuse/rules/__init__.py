"""The rules, one file per family of operations. Importing this registers them."""

from virtualpool.fuse.rules import (
    channels,
    convolution,
    permuted,
    pointwise,
    pooling,
    recovery,
    regions,
)

__all__ = ["channels", "convolution", "permuted", "pointwise", "pooling", "recovery", "regions"]
