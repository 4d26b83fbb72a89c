"""Speed of networks unmodified, unfused, fused with both borders, and at half resolution.

    python -m benchmarks.speed.runtimes --json runs/runtimes.json --markdown runs/runtimes.md

Outputs are compared with PyTorch's before anything is timed; others are not timed. In each
runtime the candidates are timed interleaved. Started again with the same file it goes on there.
"""

import argparse
import gc
import sys
from collections.abc import Iterable
from functools import partial
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.common.arguments import add_networks, add_timing, parser
from benchmarks.common.candidates import NAMES, candidates, with_padded_borders
from benchmarks.common.comparison import FASTER, Comparison, compare, in_columns, notes
from benchmarks.common.engines import ENGINES, EXECUTORCH, ONNX_RUNTIME_ANY
from benchmarks.common.networks import images, network, usual_side
from benchmarks.common.tables import grid, section, show
from benchmarks.common.times import milliseconds_per
from virtualpool.files import read_json, write_json


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


def report(comparisons: Iterable[Comparison]) -> str:
    """Comparisons as tables in Markdown, a section a network."""
    return "\n".join(
        tables(name, list(those)) for name, those in groupby(comparisons, lambda each: each.network)
    )


def tables(name: str, comparisons: list[Comparison]) -> str:
    """The comparisons of one network: a column a runtime, in each cell the batches."""
    corner, titled = in_columns(comparisons, usual_side(name))
    names = [*NAMES[:-1], "padded", NAMES[-1]]
    speeds = {each: partial(Comparison.times_faster, name=each) for each in names[1:]}
    share = {
        f"{each} / half resolution": partial(
            Comparison.times_faster, name=each, over="half resolution"
        )
        for each in ("fused", "padded")
    }
    times = {each: partial(Comparison.milliseconds, name=each) for each in names}
    differences = {each: partial(Comparison.difference, name=each) for each in names}
    return section(
        name,
        {
            FASTER: grid(corner, titled, speeds | share),
            milliseconds_per("call"): grid(corner, titled, times),
            "Largest difference of the outputs from PyTorch's in the same precision, relative to "
            "the largest output (fused: from the pooled model unfused):": grid(
                corner, titled, differences
            ),
        },
        notes(comparisons),
    )


def _options() -> argparse.Namespace:
    options = parser(__doc__)
    add_networks(options)
    here = [name for name in ENGINES if name not in (EXECUTORCH, ONNX_RUNTIME_ANY)]
    options.add_argument("--runtime", nargs="+", choices=ENGINES, default=here)
    add_timing(options)
    options.add_argument(
        "--json", help="a file of all measurements; measurements in it are not repeated"
    )
    return options.parse_args()


if __name__ == "__main__":
    sys.exit(main())
