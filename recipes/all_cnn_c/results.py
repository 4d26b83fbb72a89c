"""Writes a run's figures to a folder and prints its tables as Markdown.

python recipes/all_cnn_c/results.py runs/all_cnn_c docs/results
"""

import argparse
from pathlib import Path

from matplotlib.figure import Figure

from virtualpool import Frontier
from virtualpool.documents import read_document
from virtualpool.files import replacing
from virtualpool.search import Sensitivity, read_records

NAME = "all_cnn_c"


def main() -> None:
    """Reads the run, writes two figures and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    frontier = Frontier.load(options.run_dir / "frontier.json")
    ranking = read_document(options.run_dir / "sensitivity.json", Sensitivity.from_json)
    frontier.plot(options.output / f"{NAME}_frontier.svg")
    draw_sensitivity(ranking, options.output / f"{NAME}_sensitivity.svg")
    print(tables(frontier, ranking))


def draw_sensitivity(ranking: Sensitivity, path: Path) -> None:
    """Bars in the network's order (the paper's figure 2)."""
    sites = sorted(ranking.sites, key=lambda site: site.name)
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    axes = figure.add_subplot()
    axes.bar(
        [site.name for site in sites],
        [100 * site.drop for site in sites],
        yerr=[100 * (site.standard_error or 0) for site in sites],
        color="#0b6e99",
        capsize=2,
    )
    axes.set_ylabel("points of accuracy lost")
    axes.set_title("Each site pooled alone, without fine-tuning", loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    with replacing(path) as beside:
        figure.savefig(beside, format="svg")


def tables(frontier: Frontier, ranking: Sensitivity) -> str:
    """The models, and the sites, as Markdown."""
    assert frontier.directory is not None
    lines = [
        "| model | sites | accuracy | drop | before fine-tuning | median | speed-up | MMACs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for point in frontier.points:
        records = read_records(frontier.directory / point.name / "training.jsonl")
        before = next((f"{100 * it['accuracy']:.2f}" for it in records if "accuracy" in it), "")
        drop = f"{100 * point.drop:+.2f} ± {100 * (point.drop_standard_error or 0):.2f}"
        lines.append(
            f"| {point.name} | {len(point.plan.sites)} | {100 * point.accuracy:.2f} "
            f"| {drop if point.plan.sites else ''} | {before} | {point.latency.median_ms:.1f} ms "
            f"| {point.speedup} | {point.macs / 1e6:.0f} |"
        )
    lines += ["", f"Timed: {frontier.points[0].latency.setting}", ""]
    lines += ["| site | points lost alone | MMACs |", "|---|---|---|"]
    for site in ranking.sites:
        error = 100 * (site.standard_error or 0)
        lines.append(
            f"| {site.name} | {100 * site.drop:.2f} ± {error:.2f} | {site.macs / 1e6:.1f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
