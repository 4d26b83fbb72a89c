"""Where a network's time goes: the kernels that each candidate runs, the longest first.

    python -m benchmarks.speed.kernels --network vgg16 --batch 128 --dtype bfloat16 --mode compiled

For a GPU, tried with `--device cpu`: the kernels of a fused network beyond those at half resolution
are the difference between the two. Times are from `torch.profiler`, of a call.
"""

import argparse
from typing import Any, get_args

import torch

from benchmarks.common.arguments import parser
from benchmarks.common.comparison import UNMODIFIED
from benchmarks.common.tables import show, table
from benchmarks.speed.precisions import NETWORKS, PRECISIONS, compared
from virtualpool.measure.prepared import Mode, prepared

CALLS = 10
MOST = 25


@torch.no_grad()
def main() -> None:
    options = _options()
    models = compared(options.network, options.batch, options.dtype, options.device)
    with prepared(
        models,
        models[UNMODIFIED][1],
        mode=options.mode,
        device=options.device,
        dtype=None,
        batch=None,
        threads=None,
        channels_last=True,
    ) as ready:
        sections = [
            f"## {name}\n\n{kernels(function, ready.device)}"
            for name, function in zip(models, ready.functions, strict=True)
        ]
    show("\n".join(sections), options.markdown)


def kernels(function: Any, device: torch.device) -> str:
    """A table of a function's kernels: kernel, calls, and microseconds a call of the function."""
    function()
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profile:
        for _ in range(CALLS):
            function()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
    time = "self_cpu_time_total" if device.type == "cpu" else "self_device_time_total"
    found = [(getattr(each, time) / CALLS, each) for each in profile.key_averages()]
    found.sort(key=lambda pair: -pair[0])
    rows = [[each.key[:90], f"{each.count / CALLS:g}", f"{us:.1f}"] for us, each in found[:MOST]]
    whole = sum(us for us, _ in found)
    return table(["kernel", "calls", "us"], [*rows, ["all", "", f"{whole:.1f}"]])


def _options() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--network", choices=NETWORKS, default="vgg16")
    options.add_argument("--batch", type=int, default=128)
    options.add_argument("--dtype", choices=PRECISIONS, default="bfloat16")
    options.add_argument("--mode", choices=get_args(Mode), default="eager")
    options.add_argument("--device", default="cuda")
    return options.parse_args()


if __name__ == "__main__":
    main()
