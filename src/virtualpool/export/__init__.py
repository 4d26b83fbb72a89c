"""Networks as files for other runtimes, each run in its own runtime before success is claimed."""

from virtualpool.export.exporting import export
from virtualpool.export.report import ExportReport

__all__ = ["ExportReport", "export"]
