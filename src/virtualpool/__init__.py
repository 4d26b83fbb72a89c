"""Virtual pooling: a trained CNN in, a set of faster ones out."""

from virtualpool.errors import VirtualPoolError

__all__ = ["VirtualPoolError"]
