"""The ablations on All-CNN-C: variants of virtual pooling and its rivals, each trained as long.

    python -m benchmarks.accuracy.ablations --run-dir runs/ablations --data cifar10 \
        --markdown runs/ablations.md

All variants of the chosen ablations begin with the trained network and are trained for as many
epochs, with each seed; then all are timed interleaved. Whatever is found is a file in the run
directory: killed and started again with the same settings, the command goes on from there. The
directory also gets `frontiers.svg`, where more than one of pooling, smaller images and pruning was
asked for, and an environment of its own for Torch-Pruning.
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch

from benchmarks.accuracy.ablation import report
from benchmarks.accuracy.ablation.figure import draw
from benchmarks.accuracy.ablation.options import CLIP, LEARNING_RATE, add_training, budget, config
from benchmarks.accuracy.ablation.options import setup as set_up
from benchmarks.accuracy.ablation.questions import ABLATIONS, unmodified
from benchmarks.accuracy.ablation.results import Result, results
from benchmarks.accuracy.ablation.runner import Training, training
from benchmarks.accuracy.ablation.setup import Setup
from benchmarks.accuracy.ablation.speeds import ORIGINAL, speeds
from benchmarks.accuracy.ablation.variant import Variant
from benchmarks.common.arguments import add_timing, parser
from benchmarks.common.setting import command
from benchmarks.common.tables import show
from virtualpool.measure.latency import LatencyOptions

TIMED_REPEATS = 50

Trainings = Mapping[str, Mapping[int, Training]]


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    latency: LatencyOptions = {
        "mode": options.mode,
        "repeats": TIMED_REPEATS,
        "duration_s": options.duration_s,
    }
    setup = set_up(options, options.batch, latency)
    with setup.run.started(config(options, setup, "ablations", "seeds")):
        chosen = {name: ABLATIONS[name].variants(setup) for name in options.ablations}
        before = unmodified()
        variants = {before.name: before} | {
            it.name: it for compared in chosen.values() for it in compared
        }
        trainings = _trained([*variants.values()], options.seeds, setup)
        timed = speeds([*variants.values()], options.seeds, setup)
        found = {name: results(it, trainings[name], timed) for name, it in variants.items()}
        tables = [_table(name, chosen[name], trainings, found) for name in chosen]
        baseline = report.baseline(setup.original, found[before.name])
        conditions = f"Timed: {timed.latencies[ORIGINAL]}"
        failures = _failures([before], trainings)
        lines = [_budget(options), "", baseline, *failures, "", conditions, "", *tables]
        show("\n".join(lines), options.markdown)
        _draw(variants, found, str(timed.latencies[ORIGINAL].setting), setup)


def _trained(variants: list[Variant], seeds: list[int], setup: Setup) -> Trainings:
    # All with one seed come first: a run that is cut short has a whole table.
    trainings: dict[str, dict[int, Training]] = defaultdict(dict)
    for seed in seeds:
        for variant in variants:
            trainings[variant.name][seed] = training(variant, seed, setup)
            print(f"{variant.name}, seed {seed}: {trainings[variant.name][seed]}", flush=True)
    return trainings


def _table(
    name: str,
    variants: Sequence[Variant],
    trainings: Trainings,
    found: Mapping[str, list[Result]],
) -> str:
    rows = [result for it in variants for result in found[it.name]]
    return report.ablation(ABLATIONS[name].title, rows, _failures(variants, trainings))


def _failures(variants: Sequence[Variant], trainings: Trainings) -> list[str]:
    return [
        f"- {it.name}, seed {seed}, failed: {each.failure}"
        for it in variants
        for seed, each in trainings[it.name].items()
        if each.failure
    ]


def _draw(
    variants: Mapping[str, Variant],
    found: Mapping[str, list[Result]],
    conditions: str,
    setup: Setup,
) -> None:
    lines: dict[str, list[Result]] = defaultdict(list)
    for name, variant in variants.items():
        if variant.frontier:
            lines[variant.frontier] += found[name]
    if len(lines) > 1:
        draw(found[unmodified().name], lines, conditions, setup.directory / "frontiers.svg")


def _budget(options: argparse.Namespace) -> str:
    return (
        f"Each training: {budget(options)}, learning rate {LEARNING_RATE:g}, cosine, gradients up "
        f"to a norm of {CLIP:g}, mixed precision {options.mixed_precision}. "
        f"`{command()}`"
    )


def _options() -> argparse.Namespace:
    options = parser(__doc__)
    add_training(options)
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options.add_argument("--ablations", nargs="+", choices=ABLATIONS, default=list(ABLATIONS))
    options.add_argument("--mode", choices=["eager", "compiled"], default="compiled")
    options.add_argument("--batch", type=int, default=32, help="images per call that is timed")
    add_timing(options, duration_s=5)
    return options.parse_args()


if __name__ == "__main__":
    main()
