"""Speed on a GPU: networks unmodified, unfused, fused with both borders, and at half resolution.

    python -m benchmarks.speed.gpu --markdown runs/gpu.md

Written for CUDA and tried with `--device cpu`. Candidates are fused on the device, so that choices
are made there, and timed interleaved, channels last. The mode `cudagraph` captures eager kernels in
a CUDA graph, and `max-autotune` compiled ones. The paper has 2.1x for VGG-16, 1.53x for ResNet-50
and 1.77x for All-CNN-C on a Titan X, with fewer sites pooled than here.
"""

import argparse
import itertools
from typing import get_args

import torch

from benchmarks.common.arguments import parser
from benchmarks.common.candidates import NAMES
from benchmarks.common.comparison import UNMODIFIED
from benchmarks.common.setting import setting
from benchmarks.common.tables import show, table
from benchmarks.speed.precisions import NETWORKS, PRECISIONS, compared
from virtualpool.measure import latency
from virtualpool.measure.latency import Mode
from virtualpool.measure.setting import device_name

FUSED = ("fused", "padded")
COLUMNS = [*NAMES[1:-1], "padded", NAMES[-1]]


@torch.no_grad()
def main() -> None:
    options = _options()
    cases = itertools.product(options.network, options.batch, options.dtype, options.mode)
    rows = [row(*case, options) for case in cases]
    head = [
        "network",
        "batch",
        "dtype",
        "mode",
        "unmodified, ms",
        *COLUMNS,
        *(f"{each} / half resolution" for each in FUSED),
    ]
    made_with = setting(torch.get_num_threads(), ["torch"])
    name = device_name(torch.device(options.device))
    show(f"{table(head, rows)}\n{name}; {made_with}", options.markdown)


def row(name: str, batch: int, dtype: str, mode: Mode, options: argparse.Namespace) -> list[str]:
    """How many times faster than unmodified each candidate of one network is, by medians."""
    models = compared(name, batch, dtype, options.device)
    given = models[UNMODIFIED][1]
    timed = latency(models, given, mode=mode, device=options.device, duration_s=options.duration_s)
    milliseconds = {each: found.median_ms for each, found in timed.items()}
    ratios = [milliseconds[UNMODIFIED] / milliseconds[each] for each in COLUMNS]
    cells = [name, str(batch), dtype, mode, f"{milliseconds[UNMODIFIED]:.3g}"]
    cells += [f"{ratio:.2f}" for ratio in ratios]
    cells += [f"{milliseconds['half resolution'] / milliseconds[each]:.2f}" for each in FUSED]
    print(cells, flush=True)
    return cells


def _options() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--network", nargs="+", choices=NETWORKS, default=NETWORKS)
    options.add_argument("--batch", nargs="+", type=int, default=[1, 32, 128])
    options.add_argument("--dtype", nargs="+", choices=PRECISIONS, default=["float32", "bfloat16"])
    modes = get_args(Mode)
    options.add_argument(
        "--mode", nargs="+", choices=modes, default=["eager", "compiled", "cudagraph"]
    )
    options.add_argument("--device", default="cuda")
    options.add_argument("--duration-s", type=float, default=5, help="of timing, per candidate")
    return options.parse_args()


if __name__ == "__main__":
    main()
