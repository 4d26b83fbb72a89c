"""The operators left to XNNPACK by ExecuTorch, and their speed, as tables in Markdown."""

from pathlib import Path

from benchmarks.common.candidates import NAMES
from benchmarks.common.comparison import PERCENTILES, Comparison
from benchmarks.common.executorch_programs import Delegation
from benchmarks.common.tables import section, table


def tables(comparison: Comparison, side: int, programs: Path) -> str:
    """The results for one network: a row a candidate."""
    made = [name for name in NAMES if (programs / f"{name}.pte").exists()]
    captioned = {
        "What XNNPACK runs:": table(
            ["", "parts", "operators outside", "program, MB", "difference from PyTorch"],
            [[name, *_program(programs / f"{name}.pte"), comparison.difference(name)]
             for name in made],
        )
    }  # fmt: skip
    if any(comparison.samples_ms.values()):
        captioned["Milliseconds per call, and how many times faster than unmodified:"] = table(
            ["", *PERCENTILES, "times faster"],
            [[name, *_times(comparison, name)] for name in NAMES],
        )
    title = f"{comparison.network}, {side}x{side}"
    remarks = [f"- {remark}" for remark in comparison.remarks()]
    return section(title, captioned, [*remarks, comparison.setting, ""])


def _times(comparison: Comparison, name: str) -> list[str]:
    milliseconds = [comparison.percentile(name, it) for it in PERCENTILES.values()]
    return [*milliseconds, comparison.times_faster(name)]


def _program(file: Path) -> list[str]:
    delegation = Delegation.beside(file)
    return [str(delegation.parts), str(delegation), f"{file.stat().st_size / 1e6:.1f}"]
