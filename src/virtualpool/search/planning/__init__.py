"""A search for a target: which plans are tried, and which of them become models."""

from virtualpool.search.planning.target import Target

__all__ = ["Target"]
