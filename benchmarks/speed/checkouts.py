"""Fused networks of two checkouts of the library, compiled, timed interleaved.

    python -m benchmarks.speed.checkouts OLD NEW [--network resnet18 ...]

OLD and NEW are folders of two checkouts. Each network has random weights, the same in both, and all
of its sites pooled. A process for each checkout compiles it; the two are timed one after the other,
several times. `git worktree add OLD COMMIT` makes a checkout of another commit.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import torch

from benchmarks.common.arguments import parser
from benchmarks.common.setting import command, setting
from benchmarks.common.tables import show, table

NETWORKS = [
    "resnet18", "resnet50", "vgg16", "mobilenet_v2", "efficientnet_b0", "densenet121",
    "googlenet", "shufflenet_v2_x1_0", "mnasnet1_0", "regnet_y_400mf",
]  # fmt: skip
COLUMNS = ("network", "old, ms", "new, ms", "old / new", "10th percentile", "90th percentile")
SITES = ("network", "sites fused by old", "by new")


def main() -> None:
    options = _options()
    found = [compare(name, options) for name in options.network]
    rows, sites, differences = zip(*found, strict=True)
    made_with = setting(options.threads, ["torch", "torchvision"])
    differ = f"Outputs differ by so much of the largest: {', '.join(differences)}."
    tables = f"{table(COLUMNS, rows)}\n{table(SITES, sites)}"
    show(f"{tables}\n{differ}\n\n{made_with}\n\n    {command()}\n", options.markdown)


def compare(network: str, options: argparse.Namespace) -> tuple[list[str], list[str], str]:
    """The rows of a network, of its times and of its sites, and how far its outputs differ."""
    workers = [Worker(each, options.threads) for each in (options.old, options.new)]
    try:
        made = [worker.ask(network=network) for worker in workers]
        samples_ms: list[list[float]] = [[], []]
        for repeat in range(options.repeats):
            for index in (0, 1) if repeat % 2 else (1, 0):
                samples_ms[index].append(workers[index].ask(seconds=options.calls)["ms"])
    finally:
        for worker in workers:
            worker.stop()
    sites = [network, *(each["sites"] for each in made)]
    return row(network, samples_ms), sites, f"{network} {difference(made):.0e}"


def row(network: str, samples_ms: list[list[float]]) -> list[str]:
    """The row of a network's times.

    Args:
        network: its name.
        samples_ms: milliseconds per call of the old and the new one; neighbours are pairs.
    """
    ratios = numpy.quantile(numpy.divide(samples_ms[0], samples_ms[1]), (0.5, 0.1, 0.9))
    return [
        network,
        *(f"{numpy.median(each):.1f}" for each in samples_ms),
        *(f"{each:.3f}" for each in ratios),
    ]


def difference(made: list[dict[str, Any]]) -> float:
    """The largest of the old outputs from the new ones, relative to the largest old one."""
    old, new = (torch.tensor(each["outputs"]) for each in made)
    return float((old - new).abs().max() / old.abs().max())


class Worker:
    """A process with the library of one checkout, which answers questions."""

    def __init__(self, checkout: Path, threads: int) -> None:
        # The library is the checkout's, this program the one that runs.
        path = os.pathsep.join([str(checkout.resolve() / "src"), str(Path(__file__).parents[2])])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.speed.checkout_worker", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": path},
        )

    def ask(self, **asked: Any) -> dict[str, Any]:
        """The answer of `checkout_worker.serve`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def stop(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()


def _options() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("old", type=Path, help="a checkout")
    options.add_argument("new", type=Path, help="another one")
    options.add_argument("--network", nargs="+", default=NETWORKS, help="names in torchvision")
    options.add_argument("--repeats", type=int, default=25, help="pairs of timings")
    options.add_argument("--calls", type=float, default=0.2, help="seconds of one timing, about")
    options.add_argument("--threads", type=int, default=2, help="of torch")
    return options.parse_args()


if __name__ == "__main__":
    main()
