"""An ablation as a table in Markdown."""

from collections.abc import Sequence

from benchmarks.accuracy.ablation.results import Result
from benchmarks.common.tables import section, table
from virtualpool.search import Score

HEAD = ("variant", "accuracy", "drop", "seeds", "unfused", "fused", "MMACs")
_NOTHING = "–"


def ablation(
    title: str, original: Score, results: Sequence[Result], failures: Sequence[str]
) -> str:
    """The table of one ablation.

    Args:
        title: the compared variants.
        original: the score of the network that all begin with.
        results: of its variants.
        failures: which trainings failed, and why.
    """
    rows = [_cells(result, original) for result in results]
    remarks = [f"- {failure}" for failure in failures]
    return section(title, {_caption(original): table(HEAD, rows)}, [*remarks, ""])


def _caption(original: Score) -> str:
    return (
        f"Accuracy in per cent (before: {100 * original:.2f}), mean ± standard deviation over the "
        "seeds; speed over the original, median (quartiles):"
    )


def _cells(result: Result, original: Score) -> list[str]:
    spread = "" if result.spread is None else f" ± {100 * result.spread:.2f}"
    return [
        result.title,
        f"{100 * result.accuracy:.2f}{spread}",
        f"{100 * (original - result.accuracy):+.2f}",
        str(len(result.accuracies)),
        str(result.unfused),
        str(result.fused or _NOTHING),
        f"{result.macs / 1e6:.1f}",
    ]
