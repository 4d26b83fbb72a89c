"""Speed of residual networks with sums of recovered maps reduced, and with the same in full.

    python -m benchmarks.speed.sums --network resnet18 resnet34 --batch 1 8
    python -m benchmarks.speed.sums --network recipes/resnet_cifar/network.py:resnet20 --side 32

All sites are pooled and fused. *Full sums* has the virtual pools before each sum, as files without
sums in their plan have them. Candidates are timed interleaved, compiled unless `--mode` says
otherwise.
"""

import argparse
from typing import get_args

import torch

import virtualpool as vp
from benchmarks.common.arguments import parser
from benchmarks.common.candidates import halved, with_full_sums, with_padded_borders
from benchmarks.common.networks import images, network
from benchmarks.common.setting import setting
from benchmarks.common.tables import show, table
from benchmarks.common.times import three_digits
from virtualpool.measure.latency import Mode

HEAD = ["network", "batch", "unmodified, ms", "full sums", "reduced sums", "with padded borders"]
HEAD += ["half resolution", "full / half", "reduced / half", "padded / half"]


def main() -> None:
    options = _options()
    rows = [row(name, batch, options) for name in options.network for batch in options.batch]
    made_with = setting(torch.get_num_threads(), ["torch"])
    show(f"{table(HEAD, rows)}\n{options.mode}; {made_with}", options.markdown)


def row(name: str, batch: int, options: argparse.Namespace) -> list[str]:
    """How many times faster than unmodified each candidate is, and its share of half resolution."""
    model, given = network(name, options.side), images(batch, options.side)
    pooled = vp.apply(model, given)
    timed = {
        "unmodified": model,
        "full sums": vp.fuse(with_full_sums(model, given, pooled), given),
        "reduced sums": vp.fuse(pooled, given),
        "padded": with_padded_borders(model, given).model,
        "half resolution": (model, halved(given)),
    }
    found = vp.measure.latency(timed, given, mode=options.mode, duration_s=options.duration_s)
    original, half = found["unmodified"], found["half resolution"]
    others = [each for name, each in found.items() if name != "unmodified"]
    cells = [name, str(batch), three_digits(original.median_ms)]
    cells += [f"{each.speedup_over(original).median:.2f}" for each in others]
    cells += [f"{half.median_ms / each.median_ms:.2f}" for each in others[:-1]]
    print(cells, flush=True)
    return cells


def _options() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--network", nargs="+", default=["resnet18", "resnet34"])
    options.add_argument("--side", type=int, default=224, help="of the images, in pixels")
    options.add_argument("--batch", nargs="+", type=int, default=[1, 8])
    options.add_argument("--mode", choices=get_args(Mode), default="compiled")
    options.add_argument("--duration-s", type=float, default=5, help="of timing, per candidate")
    return options.parse_args()


if __name__ == "__main__":
    main()
