"""The directory of a run: what was asked, what was found, and the models in their files."""

from virtualpool.search.run.run import Run

__all__ = ["Run"]
