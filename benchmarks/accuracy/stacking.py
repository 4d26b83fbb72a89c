"""Virtual pooling together with pruning, bfloat16 and int8: accuracy and speed, alone and together.

    python -m benchmarks.accuracy.stacking --run-dir runs/stacking --data cifar10 \
        --markdown runs/stacking.md

All-CNN-C is pooled, pruned to half of its work with Torch-Pruning, and pruned and then pooled, each
step trained for `--epochs`; VGG-16's convolutions and ResNet-50 have random weights, and their
speed alone is measured. Everything is compared in the precisions of each runtime, interleaved. What
is found is a file in the run directory: killed and started again with the same settings, the
command goes on from there. Torch-Pruning, torchao and NNCF get environments of their own there.
"""

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.accuracy.ablation.options import (
    BATCH,
    CLIP,
    LEARNING_RATE,
    add_training,
    budget,
    config,
)
from benchmarks.accuracy.ablation.options import setup as set_up
from benchmarks.accuracy.ablation.setup import Setup
from benchmarks.accuracy.stacking_parts import report
from benchmarks.accuracy.stacking_parts.accuracy import top1
from benchmarks.accuracy.stacking_parts.forms import CALIBRATION, calibration, forms
from benchmarks.accuracy.stacking_parts.precisions import RUNTIMES, Batches, Tools, in_precisions
from benchmarks.accuracy.stacking_parts.trained import WITH_SITES, trained
from benchmarks.common.arguments import add_timing, parser
from benchmarks.common.candidates import Candidate, candidates
from benchmarks.common.comparison import Comparison, compare
from benchmarks.common.networks import ALL_CNN_C, network
from benchmarks.common.networks import images as random_images
from benchmarks.common.setting import command
from benchmarks.common.tables import show
from virtualpool.search import Score

SIDE = 224
NOISE = 4
FREE = ("network", "runtime", "batch", "accuracy_alone")
"""The options that may be others when a run goes on."""


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    setup = set_up(options, BATCH, {})
    tools = Tools(setup.directory / "environments")
    with setup.run.started(config(options, setup, *FREE)):
        sections = [
            _all_cnn_c(setup, tools, options)
            if name == ALL_CNN_C
            else _random(name, setup, tools, options)
            for name in options.network
        ]
    show("\n".join([_budget(options), "", *sections]), options.markdown)


def _all_cnn_c(setup: Setup, tools: Tools, options: argparse.Namespace) -> str:
    models = trained(setup)
    tables, comparisons = {}, []
    for batch in options.batch:
        found = forms(models, setup.images[:batch])
        calibrated = partial(calibration, setup, batch)
        if batch == max(options.batch):
            scores = {
                runtime: _scores(found, runtime, calibrated(), setup, tools, options.threads)
                for runtime in options.runtime
            }
            tables |= report.accuracies(list(found), scores)
        if options.accuracy_alone:
            continue
        times = {
            runtime: _times(ALL_CNN_C, found, runtime, calibrated(), setup, tools, options)
            for runtime in options.runtime
        }
        tables |= {
            f"Batch {batch}. {caption}": it
            for caption, it in report.speeds(list(found), times).items()
        }
        comparisons += times.values()
    return report.network(f"{ALL_CNN_C}, 32x32", tables, comparisons)


def _random(name: str, setup: Setup, tools: Tools, options: argparse.Namespace) -> str:
    if options.accuracy_alone:
        return f"## {name}: {report.NOT_YET}\n"
    noise = [*random_images(NOISE, SIDE).split(1)]
    with torch.no_grad():
        found = candidates(network(name, SIDE), noise[0])
    times = {
        runtime: _times(name, found, runtime, noise, setup, tools, options)
        for runtime in options.runtime
    }
    tables = report.speeds(list(found), times)
    return report.network(f"{name}, {SIDE}x{SIDE}, batch 1", tables, [*times.values()])


@torch.no_grad()
def _scores(
    found: Mapping[str, Candidate],
    runtime: str,
    batches: Batches,
    setup: Setup,
    tools: Tools,
    threads: int,
) -> dict[str, Score | str]:
    """The accuracy of each form and precision; or why there is none."""
    scores: dict[str, Score | str] = {}
    for name, candidate in in_precisions(found, runtime, batches, tools).items():
        path = f"{ALL_CNN_C}/accuracy/{runtime}, {name}.json"
        value = setup.run.remember(path, partial(_score, candidate, setup, threads))
        scores[name] = value if isinstance(value, str) else Score.from_json(value)
        print(f"{runtime}, {name}: {scores[name]}", flush=True)
    return scores


def _score(candidate: Candidate, setup: Setup, threads: int) -> Any:
    assert candidate.engine
    with TemporaryDirectory() as folder:
        try:
            file, its_images = Path(folder) / "network.onnx", candidate.images
            ready = candidate.engine.ready(candidate.model, its_images, file, threads)
            return top1(ready, setup.test, len(its_images)).to_json()
        except Exception as error:  # one that fails must not end a night's run
            return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


@torch.no_grad()
def _times(
    name: str,
    found: Mapping[str, Candidate],
    runtime: str,
    batches: Batches,
    setup: Setup,
    tools: Tools,
    options: argparse.Namespace,
) -> Comparison:
    def compute() -> Any:
        return compare(
            in_precisions(found, runtime, batches, tools),
            name,
            runtime,
            duration_s=options.duration_s,
            threads=options.threads,
        ).to_json()

    path = f"{name}/{runtime}, batch {len(batches[0])}.json"
    return Comparison.from_json(setup.run.remember(path, compute))


def _budget(options: argparse.Namespace) -> str:
    return (
        f"All-CNN-C: each step trained for {budget(options)}, cosine; pruned by labels and logits, "
        f"learning rate {LEARNING_RATE:g}, gradients up to a norm of {CLIP:g}; pooled by these, "
        f"the last map and the sites' maps, {WITH_SITES['learning_rate']:g} and "
        f"{WITH_SITES['clip']:g}; mixed precision {options.mixed_precision}. Int8 is calibrated "
        f"with {CALIBRATION} training images; the others with {NOISE} of noise. "
        f"`{command()}`"
    )


def _options() -> argparse.Namespace:
    options = parser(__doc__)
    add_training(options)
    options.add_argument(
        "--network", nargs="+", default=[ALL_CNN_C, "vgg16.features", "resnet50"],
        help="all_cnn_c, or names in torchvision, or of a part: vgg16.features",
    )  # fmt: skip
    options.add_argument("--runtime", nargs="+", choices=RUNTIMES, default=list(RUNTIMES))
    options.add_argument(
        "--batch", nargs="+", type=int, default=[1, 32],
        help="images per call of All-CNN-C, judged at the largest; the others get one",
    )  # fmt: skip
    options.add_argument("--accuracy-alone", action="store_true", help="time nothing")
    add_timing(options)
    return options.parse_args()


if __name__ == "__main__":
    main()
