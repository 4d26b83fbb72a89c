"""The report of a run: one self-contained HTML page."""

from virtualpool.report.page import write

__all__ = ["write"]
