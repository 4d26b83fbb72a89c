"""The operators left to XNNPACK by ExecuTorch, and their speed, as tables in Markdown."""

from functools import partial
from pathlib import Path

from benchmarks.common.candidates import NAMES
from benchmarks.common.comparison import FASTER, Comparison
from benchmarks.common.executorch_programs import Delegation
from benchmarks.common.tables import section, table
from benchmarks.common.times import milliseconds_per


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
        speeds = {
            FASTER: partial(Comparison.times_faster, comparison),
            milliseconds_per("call"): partial(Comparison.milliseconds, comparison),
        }
        captioned |= {
            caption: table(NAMES, [[text(name) for name in NAMES]])
            for caption, text in speeds.items()
        }
    title = f"{comparison.network}, {side}x{side}"
    remarks = [f"- {remark}" for remark in comparison.remarks()]
    return section(title, captioned, [*remarks, comparison.setting, ""])


def _program(file: Path) -> list[str]:
    delegation = Delegation.beside(file)
    return [str(delegation.parts), str(delegation), f"{file.stat().st_size / 1e6:.1f}"]
