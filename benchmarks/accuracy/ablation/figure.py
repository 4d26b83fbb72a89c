"""The frontiers of ways to a faster network, in one picture."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

from benchmarks.accuracy.ablation.results import Result
from virtualpool.files import replacing

_COLOURS = ("#0b6e99", "#6d28d9", "#c2410c", "#4d7c0f", "#334155")
_FAINT = "#5b6673"


def draw(
    unmodified: Sequence[Result],
    frontiers: Mapping[str, Sequence[Result]],
    setting: str,
    path: Path,
    condition: str = "Trained for as long",
) -> None:
    """Writes an SVG: accuracy against measured speed, a line a way, or a point for one result.

    Args:
        unmodified: the result that all lines begin with, if it has one.
        frontiers: the results of each way.
        setting: the setting of the speed measurements.
        path: of the picture.
        condition: what all ways have alike.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for (name, results), colour in zip(frontiers.items(), cycle(_COLOURS), strict=False):
        is_line = len(results) > 1
        shown = [*unmodified, *results] if is_line else results
        line = sorted(shown, key=lambda result: result.speedup.median)
        speeds = [result.speedup for result in line]
        axes.errorbar(
            [speed.median for speed in speeds],
            [100 * result.accuracy for result in line],
            xerr=[
                [speed.median - speed.lower for speed in speeds],
                [speed.upper - speed.median for speed in speeds],
            ],
            yerr=[100 * (result.spread or 0) for result in line],
            color=colour, marker="o" if is_line else "D", elinewidth=1, capsize=2, label=name,
        )  # fmt: skip
    axes.set_title(
        f"{condition}: accuracy against measured speed", loc="left", pad=20, fontsize=10.5
    )
    axes.text(0, 1.025, setting, transform=axes.transAxes, color=_FAINT, fontsize=7)
    axes.set_xlabel("times faster than the original\n(median, quartiles; the faster form)")
    has_seeds = any(result.spread for results in frontiers.values() for result in results)
    spread = "\n(± standard deviation over seeds)" if has_seeds else ""
    axes.set_ylabel(f"accuracy, %{spread}")
    axes.xaxis.set_major_formatter("{x:.3g}x")
    axes.grid(color="#e4e7eb", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    with replacing(path) as beside:
        figure.savefig(beside, format="svg")
