"""The directory of a run: its settings, its results, and the models in their files."""

from virtualpool.search.run.run import Run

__all__ = ["Run"]
