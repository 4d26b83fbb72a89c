"""Times of the exact ways to convolve an interpolated map, between which `fuse` chooses.

    python -m benchmarks.speed.ways --batch 1 8 --markdown runs/ways.md

Kernels are 3x3 with a padding of one; maps are VGG-16's on 224x224 images, channels last.
"""

import argparse

import torch

from benchmarks.common.arguments import parser
from benchmarks.common.setting import setting
from benchmarks.common.tables import show, table
from benchmarks.common.times import three_digits
from virtualpool.fuse.choice.costs import timed
from virtualpool.fuse.choice.ways import Trial, Way
from virtualpool.measure.timing import threads
from virtualpool.operator.pool import Axes

MAPS = ((64, 224), (128, 112), (256, 56), (512, 28), (512, 14))
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
CHOICES: dict[Axes, tuple[Way, Way]] = {
    (1, 1): (Way.FULL, Way.TRANSPOSED),
    (2, 2): (Way.EXTENDED, Way.MENDED),
}
"""By the stride on the full map."""


def main() -> None:
    options = _options()
    names = [f"{way.name.lower()}, ms" for ways in CHOICES.values() for way in ways]
    head = ["images", "map", *names]
    with threads(options.threads):
        tables = [
            f"{dtype}:\n\n"
            + table(head, (row(batch, dtype, *map) for batch in options.batch for map in MAPS))
            for dtype in DTYPES
        ]
    show("\n".join([*tables, setting(options.threads, ["torch"])]), options.markdown)


def row(batch: int, dtype: str, channels: int, side: int) -> list[str]:
    """The times of one map, in the order of `CHOICES`."""
    shapes = (batch, channels, side // 2, side // 2), (channels, channels, 3, 3)
    map, weight = (
        torch.rand(shape, dtype=DTYPES[dtype]).contiguous(memory_format=torch.channels_last)
        for shape in shapes
    )
    cells = [str(batch), f"{channels}x{side}x{side}"]
    for stride, ways in CHOICES.items():
        runs = Trial(map, (side, side), weight, stride, (1, 1), (1, 1), 1).runs()
        times = timed({way.name: runs[way] for way in ways}, map.device)
        cells += [three_digits(milliseconds) for milliseconds in times.values()]
    return cells


def _options() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--batch", nargs="+", type=int, default=[1, 8], help="images per call")
    options.add_argument("--threads", type=int, default=2)
    return options.parse_args()


if __name__ == "__main__":
    main()
