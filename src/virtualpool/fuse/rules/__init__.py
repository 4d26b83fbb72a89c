"""The rules, one file per family of operations. Importing this registers them."""

from virtualpool.fuse.rules import (
    channels,
    convolution,
    pointwise,
    pooling,
    recovery,
    regions,
)

__all__ = ["channels", "convolution", "pointwise", "pooling", "recovery", "regions"]
