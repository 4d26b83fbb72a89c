"""Speed of plans, fused with padded borders, beside smaller images with as much work.

    python -m benchmarks.speed.plans all_cnn_c --size 32 --batch 32 --plan "3 of 9" convs.1 \
        convs.3 convs.4 --plan "all 9"

All of a network are timed interleaved, compiled unless `--mode` says otherwise: the unmodified
network, each plan, the unmodified network on smaller images with the plan's multiply-accumulates,
and at half resolution. Only speed is measured, so weights do not matter.
"""

import argparse
from typing import Any, get_args

import torch

import virtualpool as vp
from benchmarks.common.arguments import parser
from benchmarks.common.candidates import halved, scale_with
from benchmarks.common.networks import images, network
from benchmarks.common.setting import command, setting
from benchmarks.common.tables import show, table
from benchmarks.common.task import named_plans
from virtualpool.graph.image_scale import without_resizing
from virtualpool.measure.latency import Mode

HEAD = ["plan", "MACs", "fused", "smaller images", "half resolution"]
UNMODIFIED, HALF = "unmodified", "half resolution"


def main() -> None:
    options = _options()
    if options.threads:
        torch.set_num_threads(options.threads)
    given = images(options.batch, *options.size)
    model = network(options.network, options.size[0])
    plans = named_plans(options.plan, model, given)
    timed: dict[str, Any] = {UNMODIFIED: model, HALF: (model, halved(given))}
    work = {}
    for name, sites in plans:
        pooled = vp.apply(model, given, sites, border="padded")
        macs = vp.measure.macs(pooled, given)
        work[name] = vp.measure.macs(model, given) / macs
        scale = scale_with(macs, model, given)
        smaller = vp.apply(model, given, [], image_scale=scale)
        timed[name] = vp.fuse(pooled, given)
        timed[_beside(name)] = without_resizing(smaller, given)
    found = vp.measure.latency(timed, given, mode=options.mode, duration_s=options.duration_s)
    speed = {name: it.speedup_over(found[UNMODIFIED]) for name, it in found.items()}
    rows = [
        [
            name,
            f"1/{work[name]:.2f}",
            *(f"{speed[it].median:.2f}x" for it in (name, _beside(name), HALF)),
        ]
        for name, _ in plans
    ]
    apart = max(max(it.upper / it.median, it.median / it.lower) for it in speed.values()) - 1
    show(
        f"{options.network}, times faster than unmodified, {options.batch} images a call:\n\n"
        f"{table(HEAD, rows)}\nUnmodified: {found[UNMODIFIED]}\n"
        f"Quartiles of the ratios are within {apart:.0%} of the medians.\n"
        f"{setting(torch.get_num_threads(), ['torch'])}\n\n    {command()}\n",
        options.markdown,
    )


def _beside(plan: str) -> str:
    return f"smaller images for {plan}"


def _options() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("network", help="all_cnn_c, or MODEL of the command")
    options.add_argument("--size", nargs="+", type=int, default=[224], help="height and width")
    options.add_argument("--batch", type=int, default=1, help="images per call")
    options.add_argument(
        "--plan", nargs="+", action="append", metavar=("NAME", "SITE"),
        help="a plan and its sites, or modules whose sites are meant; all sites if not given",
    )  # fmt: skip
    options.add_argument("--mode", choices=get_args(Mode), default="compiled")
    options.add_argument("--duration-s", type=float, default=10, help="of timing, per candidate")
    options.add_argument("--threads", type=int, help="of torch; as many as it takes itself")
    return options.parse_args()


if __name__ == "__main__":
    main()
