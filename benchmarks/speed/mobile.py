"""Networks in ExecuTorch with XNNPACK, as on phones: delegation, outputs, sizes, times.

    python -m benchmarks.speed.mobile --run-dir runs/mobile --markdown runs/mobile.md

ExecuTorch is installed into an environment of its own in the run directory, where this starts
itself again. The programs stay there, a folder a network, for a phone to run; those that are there
are not made again. With `--duration-s 0` nothing is timed.
"""

import argparse
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import torch

from benchmarks.common import borrowed
from benchmarks.common.arguments import add_timing, parser
from benchmarks.common.candidates import candidates
from benchmarks.common.comparison import Comparison, compare
from benchmarks.common.engines import EXECUTORCH
from benchmarks.common.networks import ALL_CNN_C, images, network, usual_side
from benchmarks.common.tables import show
from benchmarks.speed.delegated import tables
from virtualpool.files import write_json

PROGRAM = "benchmarks.speed.mobile"
NETWORKS = [ALL_CNN_C, "mobilenet_v2", "resnet50", "vgg16.features"]


@torch.no_grad()
def main() -> int:
    options = _options()
    folder = Path(options.run_dir)
    if find_spec("executorch") is None:
        python = borrowed.environment(folder / "environment", *borrowed.EXECUTORCH)
        return subprocess.run([python, "-m", PROGRAM, *sys.argv[1:]], check=False).returncode
    comparisons, sections = [], []
    for name in options.network:
        programs = folder / name
        programs.mkdir(parents=True, exist_ok=True)
        comparisons.append(_compared(name, programs, options))
        sections.append(tables(comparisons[-1], usual_side(name), programs))
    write_json(folder / "mobile.json", [each.to_json() for each in comparisons])
    show("\n".join(sections), options.markdown)
    return 1 if any(each.failures for each in comparisons) else 0


def _compared(name: str, programs: Path, options: argparse.Namespace) -> Comparison:
    side = usual_side(name)
    return compare(
        candidates(network(name, side), images(1, side)),
        name,
        EXECUTORCH,
        duration_s=options.duration_s,
        threads=options.threads,
        folder=programs,
    )


def _options() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--network", nargs="+", choices=NETWORKS, default=NETWORKS)
    options.add_argument("--run-dir", required=True, help="of the environment and the programs")
    add_timing(options)
    return options.parse_args()


if __name__ == "__main__":
    sys.exit(main())
