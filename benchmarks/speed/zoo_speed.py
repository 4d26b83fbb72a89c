"""Speed of torchvision's classification networks: unmodified, pooled in all forms, and smaller.

    python -m benchmarks.speed.zoo_speed --run-dir runs/zoo_speed --markdown runs/zoo_speed.md

Weights and images are random. Each network has a process of its own and a file in the run
directory; killed and started again, it goes on from there. Delete a file to measure again.
*Fused* has exact borders, *padded* is fused too.
"""

import argparse
import itertools
import multiprocessing
import statistics
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

import torch
import torchvision
from numpy import percentile
from torchvision.models import list_models

from benchmarks.common.arguments import add_timing, parser
from benchmarks.common.candidates import NAMES, candidates, with_padded_borders
from benchmarks.common.comparison import UNMODIFIED, Comparison, compare
from benchmarks.common.engines import ENGINES
from benchmarks.common.networks import images, input_side, network
from benchmarks.common.setting import setting
from benchmarks.common.tables import section, show, table
from benchmarks.common.times import median
from virtualpool.files import read_json, write_json

FUSED = ("fused", "padded")
HALF = NAMES[-1]


def main() -> None:
    options = _options()
    names = [
        name
        for name in list_models(module=torchvision.models)
        if any(fnmatch(name, pattern) for pattern in options.networks)
    ]
    found = [_found(name, options) for name in names]
    show(report(found), options.markdown)


def _found(name: str, options: argparse.Namespace) -> Comparison:
    """The results in a network's file; made first if there is none."""
    path = Path(options.run_dir) / f"{name}.json"
    if not path.exists():
        process = multiprocessing.get_context("spawn").Process(
            target=_measure, args=(name, path, options)
        )
        process.start()
        process.join(options.time_limit)
        if process.is_alive():
            process.kill()
            process.join()
            _write_failure(path, name, f"took more than {options.time_limit} s", options)
        elif not path.exists():
            _write_failure(path, name, f"ended with code {process.exitcode}", options)
    return Comparison.from_json(read_json(path))


@torch.no_grad()
def _measure(name: str, path: Path, options: argparse.Namespace) -> None:
    side = input_side(name)
    try:
        model, given = network(name, side), images(options.batch, side)
        comparison = compare(
            candidates(model, given) | {"padded": with_padded_borders(model, given)},
            name,
            options.mode,
            duration_s=options.duration_s,
            threads=options.threads,
        )
    except Exception as error:
        _write_failure(path, name, f"{type(error).__name__}: {error}", options)
        raise
    write_json(path, comparison.to_json())


def _write_failure(path: Path, name: str, reason: str, options: argparse.Namespace) -> None:
    made_with = setting(options.threads, ENGINES[options.mode].packages)
    failures: dict[str, str] = dict.fromkeys(NAMES, reason)
    comparison = Comparison(name, options.batch, options.mode, made_with, failures=failures)
    print(comparison, flush=True)
    write_json(path, comparison.to_json())


def report(comparisons: list[Comparison]) -> str:
    """Tables in Markdown: the gain over all networks, then of each network."""
    padded = [each for each in comparisons if "padded" in each.samples_ms]
    columns = ("unfused", "fused", HALF)
    tables = {
        "Over all networks:": table(
            ["geometric mean", "networks", "ratio", "slower"], _summary(comparisons)
        ),
        "How many times faster than unmodified, medians:": table(
            ["network", "unmodified, ms", *columns, "fused / half resolution"],
            (
                [each.network, each.median_ms(UNMODIFIED), *_speeds(each, columns, "fused")]
                for each in comparisons
            ),
        ),
        "Times of the unmodified network, as a part of their median:": table(
            ["percentile", "all networks, median", "furthest", "network"], _spreads(comparisons)
        ),
    }
    if padded:
        tables["Fused with padded borders:"] = table(
            ["network", "padded", "padded / half resolution"],
            ([each.network, *_speeds(each, ["padded"], "padded")] for each in padded),
        )
    return section("Classification networks of torchvision", tables, _notes(comparisons))


def _speeds(comparison: Comparison, names: Sequence[str], fused: str) -> list[str]:
    share = comparison.times_faster(fused, over=HALF)
    return [*map(comparison.times_faster, names), share]


def _summary(comparisons: list[Comparison]) -> Iterator[list[str]]:
    """A row for each two that were timed together: fused is so many times as fast as the other."""
    for name, over in itertools.product(FUSED, (UNMODIFIED, "unfused", HALF)):
        ratios = _ratios(comparisons, name, over)
        if ratios:
            mean = statistics.geometric_mean(ratios.values())
            slower = [
                f"{network} ({ratio:.2f})"
                for network, ratio in ratios.items()
                if round(ratio, 2) < 1
            ]
            those = "" if over == HALF else ", ".join(slower) or "none"
            yield [f"{name}, as fast as {over}", str(len(ratios)), f"{mean:.2f}", those]


def _spreads(comparisons: list[Comparison]) -> Iterator[list[str]]:
    """A row for each percentile: over all networks, and where it is furthest from the median."""
    timed = {each.network: each.samples_ms[UNMODIFIED] for each in comparisons if each.samples_ms}
    for title, per_cent, furthest in (("10th", 10, min), ("90th", 90, max)):
        parts = {name: percentile(of, per_cent) / median(of) for name, of in timed.items()}
        name = furthest(parts, key=parts.__getitem__)
        yield [title, f"{median([*parts.values()]):.2f}", f"{parts[name]:.2f}", name]


def _notes(comparisons: list[Comparison]) -> list[str]:
    remarks = [f"- {each.network}: {it}" for each in comparisons for it in each.remarks()]
    made_with = sorted({f"{each.engine}, {each.setting}" for each in comparisons})
    return [*remarks, "", *made_with, ""]


def _ratios(comparisons: list[Comparison], name: str, over: str) -> dict[str, float]:
    ratios = {each.network: each.ratio(name, over) for each in comparisons}
    return {network: ratio for network, ratio in ratios.items() if ratio is not None}


def _options() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--run-dir", required=True, help="where each network has its file")
    options.add_argument("--networks", nargs="+", default=["*"], help='such as "resnet*" alexnet')
    options.add_argument("--mode", choices=["eager", "compiled"], default="compiled")
    options.add_argument("--batch", type=int, default=1, help="images per call")
    add_timing(options, duration_s=5)
    options.add_argument("--time-limit", type=float, default=1800, help="per network, in seconds")
    return options.parse_args()


if __name__ == "__main__":
    sys.exit(main())
