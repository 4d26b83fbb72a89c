"""Speed beside other ways to a quarter of the work: Torch-Pruning, and perforation.

    python -m benchmarks.accuracy.rivals --run-dir runs/rivals --markdown runs/rivals.md

Only speed is compared: weights are random and nothing is trained. Torch-Pruning is installed into
an environment of its own in the run directory.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import torch
from torch import nn

import virtualpool as vp
from benchmarks.accuracy.perforation import perforated
from benchmarks.common.arguments import add_networks, add_timing, parser
from benchmarks.common.borrowed import TORCH_PRUNING, environment, run
from benchmarks.common.candidates import NAMES, Candidate, candidates
from benchmarks.common.comparison import SPEEDS, Comparison, compare, notes, runtime, speeds
from benchmarks.common.engines import ENGINES
from benchmarks.common.networks import images, network
from benchmarks.common.tables import grid, section, show
from virtualpool.files import write_json
from virtualpool.words import count

SIDE = 224
ROWS = (*NAMES, "Torch-Pruning", "perforation")


@torch.no_grad()
def main() -> int:
    options = _options()
    folder = Path(options.run_dir)
    python = environment(folder / "environment", TORCH_PRUNING)
    comparisons: list[Comparison] = []
    works: dict[str, dict[str, float]] = {}
    for name in options.network:
        smaller = pruned(name, python, folder)
        comparisons += [
            _compared(name, smaller, batch, engine, options)
            for engine in options.runtime
            for batch in options.batch
        ]
        works[name] = work(name, smaller)
    write_json(folder / "rivals.json", [each.to_json() for each in comparisons])
    show(report(comparisons, works), options.markdown)
    return 1 if any(each.failures for each in comparisons) else 0


def pruned(name: str, python: Path, folder: Path) -> nn.Module:
    """A network as Torch-Pruning leaves it (see `prune.py`), made if its file is not there."""
    file = folder / f"{name}-pruned.pt"
    if not file.exists():
        run(python, "benchmarks.accuracy.prune", name, SIDE, file)
    return torch.load(file, weights_only=False)


def rivals(name: str, smaller: nn.Module, batch: int) -> dict[str, Candidate]:
    """All candidates, by the names in `ROWS`."""
    model, inputs = network(name, SIDE), images(batch, SIDE)
    holes = perforated(model, inputs)
    models = [
        *candidates(model, inputs).values(),
        Candidate(smaller, inputs, smaller),
        Candidate(holes, inputs, holes),
    ]
    return dict(zip(ROWS, models, strict=True))


def _compared(
    name: str, smaller: nn.Module, batch: int, engine: str, options: argparse.Namespace
) -> Comparison:
    return compare(
        rivals(name, smaller, batch),
        name,
        engine,
        duration_s=options.duration_s,
        threads=options.threads,
    )


def work(name: str, smaller: nn.Module) -> dict[str, float]:
    """The multiply-accumulates of all candidates, as parts of the unmodified network's."""
    counts = {
        each: vp.measure.macs(candidate.model, candidate.images)
        for each, candidate in rivals(name, smaller, batch=1).items()
    }
    return {each: count / counts["unmodified"] for each, count in counts.items()}


def report(comparisons: list[Comparison], works: dict[str, dict[str, float]]) -> str:
    """All comparisons: a column a network and runtime; then the work, a column a network."""
    rows = speeds({name: name for name in ROWS[1:]})
    tables: dict[str, str] = {}
    for batch in dict.fromkeys(each.batch for each in comparisons):
        columns = {
            f"{each.network}, {runtime(each)}": each for each in comparisons if each.batch == batch
        }
        tables[f"{SPEEDS[:-1]}, {count(batch, 'image')}:"] = grid("", columns, rows)
    parts = {name: partial(_part, name=name) for name in ROWS}
    tables["Multiply-accumulates, as a part of unmodified:"] = grid("", works, parts)
    return section("Rivals", tables, notes(comparisons))


def _part(work: dict[str, float], name: str) -> str:
    return f"{work[name]:.3f}"


def _options() -> argparse.Namespace:
    options = parser(__doc__)
    add_networks(options)
    options.add_argument("--run-dir", required=True, help="of the environment and its results")
    options.add_argument("--runtime", nargs="+", choices=ENGINES, default=["eager", "compiled"])
    add_timing(options)
    return options.parse_args()


if __name__ == "__main__":
    sys.exit(main())
