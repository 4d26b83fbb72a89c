"""An ablation as a table in Markdown."""

from collections.abc import Sequence

from benchmarks.accuracy.ablation.results import Result
from benchmarks.common.tables import table
from virtualpool.search import Score

HEAD = ("variant", "accuracy, %", "unfused", "fused", "MMACs")
_NOTHING = "–"


def ablation(title: str, results: Sequence[Result], failures: Sequence[str]) -> str:
    """The table of one ablation: accuracies, and speeds over the original.

    Args:
        title: the compared variants.
        results: of its variants.
        failures: a line for each training that failed.
    """
    return "\n".join([f"## {title}", "", table(HEAD, map(_cells, results)), *failures, ""])


def baseline(original: Score, unmodified: Sequence[Result]) -> str:
    """The accuracy before, and of the unmodified network that is trained as the variants are."""
    trained = "".join(
        f" Unmodified, trained for as long, it has {accuracy(it)} % at {it.macs / 1e6:.1f} MMACs."
        for it in unmodified
    )
    return f"The network has {100 * original:.2f} % before.{trained}"


def accuracy(result: Result) -> str:
    """In per cent: the mean and the standard deviation over the seeds."""
    spread = "" if result.spread is None else f" ± {100 * result.spread:.2f}"
    return f"{100 * result.accuracy:.2f}{spread}"


def _cells(result: Result) -> list[str]:
    return [
        result.title,
        accuracy(result),
        f"{result.unfused.median:.2f}x",
        f"{result.fused.median:.2f}x" if result.fused else _NOTHING,
        f"{result.macs / 1e6:.1f}",
    ]
