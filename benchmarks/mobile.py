"""Networks in ExecuTorch with XNNPACK, as on phones: what is delegated, outputs, sizes, times.

    python benchmarks/mobile.py --run-dir runs/mobile --markdown runs/mobile.md

ExecuTorch is installed into an environment of its own in the run directory, where this starts
itself again. The programs stay there, a folder a network, for a phone to run; those that are there
are not made again. With `--seconds 0` nothing is timed.
"""

import argparse
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import borrowed
import torch
from arguments import add_timing, parser
from candidates import NAMES, candidates
from comparison import FASTER, Comparison, compare
from engines import EXECUTORCH
from executorch_programs import Delegation
from networks import ALL_CNN_C, images, network, usual_side
from tables import section, show, table
from times import milliseconds_per

from virtualpool.files import write_json

NETWORKS = [ALL_CNN_C, "mobilenet_v2", "resnet50", "vgg16.features"]


@torch.no_grad()
def main() -> int:
    options = _options()
    folder = Path(options.run_dir)
    if find_spec("executorch") is None:
        python = borrowed.environment(folder / "environment", *borrowed.EXECUTORCH)
        return subprocess.run([python, *sys.argv], check=False).returncode
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
        seconds=options.seconds,
        threads=options.threads,
        folder=programs,
    )


def tables(comparison: Comparison, side: int, programs: Path) -> str:
    """What was found out about one network: a row a candidate."""
    made = [name for name in NAMES if (programs / f"{name}.pte").exists()]
    captioned = {
        "What XNNPACK runs:": table(
            ["", "parts", "operators outside", "program, MB", "difference from PyTorch"],
            [[name, *_program(programs / f"{name}.pte"), comparison.difference(name)]
             for name in made],
        )
    }  # fmt: skip
    if any(comparison.samples_ms.values()):
        speeds = {
            FASTER: partial(Comparison.times_faster, comparison),
            milliseconds_per("call"): partial(Comparison.milliseconds, comparison),
        }
        captioned |= {
            caption: table(NAMES, [[text(name) for name in NAMES]])
            for caption, text in speeds.items()
        }
    title = f"{comparison.network}, {side}x{side}"
    remarks = [f"- {remark}" for remark in comparison.remarks()]
    return section(title, captioned, [*remarks, comparison.setting, ""])


def _program(file: Path) -> list[str]:
    delegation = Delegation.beside(file)
    return [str(delegation.parts), str(delegation), f"{file.stat().st_size / 1e6:.1f}"]


def _options() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--network", nargs="+", choices=NETWORKS, default=NETWORKS)
    options.add_argument("--run-dir", required=True, help="of the environment and the programs")
    add_timing(options)
    return options.parse_args()


if __name__ == "__main__":
    sys.exit(main())
