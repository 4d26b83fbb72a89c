"""Speed of networks unmodified, unfused, fused with both borders, and at half resolution.

    python -m benchmarks.speed.runtimes --json runs/runtimes.json --markdown runs/runtimes.md

Outputs are compared with PyTorch's before anything is timed; others are not timed. In each
runtime the candidates are timed interleaved. Started again with the same file it goes on there.
"""

import argparse
import gc
import sys
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.common.arguments import add_networks, add_timing, parser
from benchmarks.common.candidates import candidates, with_padded_borders
from benchmarks.common.comparison import SPEEDS, Comparison, compare, notes, runtime, speeds
from benchmarks.common.engines import ENGINES
from benchmarks.common.networks import images, network, usual_side
from benchmarks.common.tables import by_images, show, table
from virtualpool.files import read_json, write_json

FUSED = {"padded": "padded", "exact": "fused"}
"""The candidates that are fused, by their borders."""
ROWS = {
    "unfused": "unfused",
    "exact": "fused",
    "padded": "padded",
    "half resolution": "half resolution",
}
RUNTIMES = ("eager", "compiled", "onnxruntime", "openvino")


@torch.no_grad()
def main() -> int:
    options = _options()
    found = _read(options.json)
    for name in options.network:
        for batch in options.batch:
            wanted = [(name, batch, engine) for engine in options.runtime]
            _measure([key for key in wanted if key not in found], found, options)
    wanted = [
        found[name, batch, engine]
        for name in options.network
        for engine in options.runtime
        for batch in options.batch
    ]
    show(report(wanted), options.markdown)
    return 1 if any(comparison.failures for comparison in wanted) else 0


def _measure(
    keys: list[tuple[str, int, str]],
    found: dict[tuple[str, int, str], Comparison],
    options: argparse.Namespace,
) -> None:
    """Fills in the missing results of one network and batch; OpenVINO reads a file twice."""
    if not keys:
        return
    name, batch, _ = keys[0]
    side = usual_side(name)
    model, given = network(name, side), images(batch, side)
    compared = candidates(model, given) | {"padded": with_padded_borders(model, given)}
    with TemporaryDirectory() as folder:
        for key in keys:
            found[key] = compare(
                compared,
                name,
                key[2],
                duration_s=options.duration_s,
                threads=options.threads,
                folder=Path(folder),
            )
            if options.json:
                write_json(options.json, [each.to_json() for each in found.values()])
            gc.collect()  # the next runtime may need the memory of this one


def _read(path: str | None) -> dict[tuple[str, int, str], Comparison]:
    if path is None or not Path(path).exists():
        return {}
    comparisons = map(Comparison.from_json, read_json(path))
    return {(each.network, each.batch, each.engine): each for each in comparisons}


def report(comparisons: list[Comparison]) -> str:
    """Comparisons as tables in Markdown: parts of half resolution's speed, then all speeds."""
    worst = max((part for each in comparisons for part in each.differences.values()), default=0)
    lines: list[str] = []
    for border, name in FUSED.items():
        lines += [f"Fused with {border} borders, as a part of half resolution's speed:", ""]
        lines += [shares(comparisons, name)]
    lines += [SPEEDS, ""]
    for name, those in groupby(comparisons, lambda each: each.network):
        lines += [by_images(name, those, runtime, speeds(ROWS))]
    return "\n".join(
        [
            *lines,
            "Largest difference of the outputs from PyTorch's in the same precision, relative to "
            f"the largest output (fused: from the pooled model unfused): {worst:.0e}",
            "",
            *notes(comparisons),
        ]
    )


def shares(comparisons: list[Comparison], name: str) -> str:
    """A candidate's speeds as parts of half resolution's: a row a network and number of images."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for each in comparisons:
        row = rows.setdefault((each.network, str(each.batch)), {})
        row[runtime(each)] = each.times_faster(name, "half resolution")
    runtimes = dict.fromkeys(map(runtime, comparisons))
    lines = ([*case, *(row[each] for each in runtimes)] for case, row in rows.items())
    return table(["network", "images", *runtimes], lines)


def _options() -> argparse.Namespace:
    options = parser(__doc__)
    add_networks(options)
    options.add_argument("--runtime", nargs="+", choices=ENGINES, default=RUNTIMES)
    add_timing(options)
    options.add_argument(
        "--json", help="a file of all measurements; measurements in it are not repeated"
    )
    return options.parse_args()


if __name__ == "__main__":
    sys.exit(main())
