"""Speed of Ultralytics' detectors: unmodified, unfused, fused, half resolution.

    pip install ultralytics
    python -m benchmarks.speed.yolo --markdown runs/yolo.md

Weights and images are random, all sites are pooled, and what follows the network (the choice among
boxes) is left out.
"""

import argparse
import sys

import torch
from torch import nn

from benchmarks.common.arguments import add_timing, parser
from benchmarks.common.candidates import NAMES, candidates
from benchmarks.common.comparison import PERCENTILES, Comparison, compare
from benchmarks.common.networks import images
from benchmarks.common.tables import show, table

SPEEDS = ("network", "mode", "unmodified, ms", "unfused", "fused", "half resolution")
SPREAD = ("network", "mode", *(f"{title}, ms" for title in PERCENTILES))


@torch.no_grad()
def main() -> int:
    options = _options()
    found = [_compared(name, mode, options) for name in options.network for mode in options.mode]
    settings = "\n".join(sorted({str(each.setting) for each in found}))
    tables = [table(SPEEDS, map(_speeds, found)), table(SPREAD, map(_spread, found))]
    show("\n".join([*tables, settings]), options.markdown)
    return 1 if any(each.failures for each in found) else 0


def _compared(name: str, mode: str, options: argparse.Namespace) -> Comparison:
    # The networks share their code, and PyTorch compiles it for no more than so many of them.
    torch.compiler.reset()
    compared = candidates(detector(name), images(options.batch, options.side))
    return compare(compared, name, mode, duration_s=options.duration_s, threads=options.threads)


def detector(name: str) -> nn.Module:
    """A network of Ultralytics, as it is exported: it gives one tensor of boxes and scores."""
    from ultralytics import YOLO  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    model = YOLO(f"{name}.yaml").model
    model.model[-1].export = True
    return model.eval().requires_grad_(False)


def _speeds(comparison: Comparison) -> list[str]:
    times_faster = [comparison.times_faster(name) for name in NAMES[1:]]
    return [
        comparison.network,
        comparison.engine,
        comparison.median_ms("unmodified"),
        *times_faster,
    ]


def _spread(comparison: Comparison) -> list[str]:
    milliseconds = [comparison.percentile("unmodified", it) for it in PERCENTILES.values()]
    return [comparison.network, comparison.engine, *milliseconds]


def _options() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--network", nargs="+", default=["yolov8n", "yolo11n"], help="their names")
    options.add_argument(
        "--mode", nargs="+", choices=["eager", "compiled"], default=["eager", "compiled"]
    )
    options.add_argument("--batch", type=int, default=1, help="images per call")
    options.add_argument("--side", type=int, default=640, help="of an image, in pixels")
    add_timing(options, duration_s=3)
    return options.parse_args()


if __name__ == "__main__":
    sys.exit(main())
