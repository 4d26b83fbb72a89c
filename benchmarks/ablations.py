"""The ablations on All-CNN-C: variants of virtual pooling and its rivals, each trained as long.

    python benchmarks/ablations.py --run-dir runs/ablations --data cifar10 \
        --markdown runs/ablations.md

All variants of the chosen ablations begin with the trained network and are trained for as many
epochs, with each seed; then all are timed by turns. Whatever is found is a file in the run
directory: killed and started again with the same settings, the command goes on from there. The
directory also gets `frontiers.svg`, where more than one of pooling, smaller images and pruning was
asked for, and an environment of its own for Torch-Pruning.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from ablation import report
from ablation.figure import draw
from ablation.questions import ABLATIONS, unmodified
from ablation.results import Result, results
from ablation.runner import Training, training
from ablation.setup import Setup
from ablation.speeds import ORIGINAL, speeds
from ablation.variant import Variant
from arguments import add_timing, parser
from safetensors.torch import load_file
from tables import show
from torch.utils.data import Subset

from virtualpool.models import CIFAR10_MEAN, CIFAR10_STD, AllCNNC, all_cnn_c
from virtualpool.search import Run
from virtualpool.search.fingerprint import fingerprint
from virtualpool.tasks.classification import Batches, Preprocessing, evaluator, load_data
from virtualpool.tasks.loading import loader

PREPROCESSING = Preprocessing(32, mean=CIFAR10_MEAN, std=CIFAR10_STD, augmentation="crop")
BATCH = 128
LEARNING_RATE = 3e-4  # at three times that some diverge, without batch norm as they are
CLIP = 5.0
WATCHED = 500
TIMED_ROUNDS = 50

Trainings = Mapping[str, Mapping[int, Training]]


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    setup = _setup(options)
    with setup.run.started(_config(options, setup)):
        chosen = {
            name: [unmodified(), *ABLATIONS[name].variants(setup)] for name in options.ablations
        }
        variants = {it.name: it for compared in chosen.values() for it in compared}
        trainings = _trained([*variants.values()], options.seeds, setup)
        timed = speeds([*variants.values()], options.seeds, setup)
        found = {name: results(it, trainings[name], timed) for name, it in variants.items()}
        tables = [_table(name, chosen[name], trainings, found, setup) for name in chosen]
        conditions = f"Timed: {timed.latencies[ORIGINAL]}"
        show("\n".join([_budget(options), "", conditions, "", *tables]), options.markdown)
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
    variants: list[Variant],
    trainings: Trainings,
    found: Mapping[str, list[Result]],
    setup: Setup,
) -> str:
    failures = [
        f"{it.name}, seed {seed}, failed: {each.failure}"
        for it in variants
        for seed, each in trainings[it.name].items()
        if each.failure
    ]
    rows = [result for it in variants for result in found[it.name]]
    return report.ablation(ABLATIONS[name].title, setup.original, rows, failures)


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


def _setup(options: argparse.Namespace) -> Setup:
    load = partial(load_data, options.data, preprocessing=PREPROCESSING, batch_size=BATCH)
    data = load(subset=options.test_images)
    if data.train is None:
        raise SystemExit(f"{options.data}: no training images; variants are trained on them.")
    images, _ = next(iter(data.test))
    test: Any = data.test.dataset
    watched = load(subset=min(WATCHED, len(test))).test
    return Setup(
        run=Run(options.run_dir),
        network=_network(options.weights).eval(),
        images=images[: options.batch],
        train=_part(data.train, options.images),
        evaluate=evaluator(data.test),
        watch=evaluator(watched),
        epochs=options.epochs,
        training={
            "optimizer": "adamw",
            "learning_rate": LEARNING_RATE,
            "schedule": "cosine",
            "clip": CLIP,
            "mixed_precision": options.mixed_precision,
        },
        latency={"mode": options.mode, "rounds": TIMED_ROUNDS, "seconds": options.seconds},
    )


def _network(weights: str | None) -> AllCNNC:
    if weights is None:
        return all_cnn_c("cifar10")
    network = all_cnn_c()
    network.load_state_dict(load_file(weights))
    return network


def _part(batches: Batches, count: int | None) -> Batches:
    """The batches of so many of the images, drawn at random."""
    if count is None:
        return batches
    images: Any = batches.dataset
    drawn = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:count]
    part = Subset(images, drawn.tolist())
    return loader(part, BATCH, 0, batches.collate_fn, training=True)


def _config(options: argparse.Namespace, setup: Setup) -> dict[str, Any]:
    free = ("run_dir", "markdown", "ablations", "seeds", "weights")
    asked = {name: value for name, value in vars(options).items() if name not in free}
    return asked | {"network": fingerprint(setup.network.state_dict()), "settings": setup.training}


def _budget(options: argparse.Namespace) -> str:
    images = options.images or "all"
    return (
        f"Each training: {options.epochs:g} epochs of {images} training images, batches of "
        f"{BATCH}, AdamW, learning rate {LEARNING_RATE:g}, cosine, gradients up to a norm of "
        f"{CLIP:g}, mixed precision {options.mixed_precision}. `python {' '.join(sys.argv)}`"
    )


def _options() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--run-dir", required=True, help="of all that is found")
    options.add_argument("--data", required=True, help="as --data of the command")
    options.add_argument("--weights", help="a safetensors file; those in the package if not given")
    options.add_argument("--epochs", type=float, default=1.0, help="of each training, in all")
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options.add_argument("--ablations", nargs="+", choices=ABLATIONS, default=list(ABLATIONS))
    options.add_argument("--images", type=int, help="train on only so many")
    options.add_argument("--test-images", type=int, help="judge on only so many")
    options.add_argument("--mixed-precision", choices=["no", "bf16"], default="no")
    options.add_argument("--mode", choices=["eager", "compiled"], default="compiled")
    options.add_argument("--batch", type=int, default=32, help="images per call that is timed")
    add_timing(options, seconds=5)
    return options.parse_args()


if __name__ == "__main__":
    main()
