"""The options of programs that train All-CNN-C, and the setup from them."""

import argparse
from functools import partial
from typing import Any

import torch
from safetensors.torch import load_file

from benchmarks.accuracy.ablation.setup import Setup
from benchmarks.common.training import part_of
from virtualpool.fingerprint import fingerprint
from virtualpool.measure.latency import LatencyOptions
from virtualpool.models import AllCNNC, all_cnn_c
from virtualpool.search import Run
from virtualpool.tasks.classification import evaluator, load_data
from virtualpool.tasks.preprocessing import CIFAR10

BATCH = 128
LEARNING_RATE = 3e-4  # at three times that some diverge, without batch norm as they are
CLIP = 5.0
WATCHED = 500


def add_training(to: argparse.ArgumentParser) -> None:
    """Adds the networks to train, their data, and the length of training."""
    to.add_argument("--run-dir", required=True, help="of all that is found")
    to.add_argument("--data", required=True, help="as --data of the command")
    to.add_argument("--weights", help="a safetensors file; those in the package if not given")
    to.add_argument("--epochs", type=float, default=1.0, help="of each training, in all")
    to.add_argument("--images", type=int, help="train on only so many")
    to.add_argument("--test-images", type=int, help="judge on only so many")
    to.add_argument("--mixed-precision", choices=["no", "bf16"], default="no")
    to.add_argument("--device", default="cpu", help="of trainings; speed is the processor's")


def setup(options: argparse.Namespace, batch: int, latency: LatencyOptions) -> Setup:
    """The setup that the options of `add_training` ask for.

    Args:
        options: of the command line.
        batch: images per call that is timed, at most `BATCH`.
        latency: the options of `virtualpool.measure.latency`.
    """
    load = partial(load_data, options.data, preprocessing=CIFAR10, batch_size=BATCH)
    data = load(subset=options.test_images)
    if data.train is None:
        raise SystemExit(f"{options.data}: no training images; variants are trained on them.")
    images, _ = next(iter(data.test))
    test: Any = data.test.dataset
    watched = load(subset=min(WATCHED, len(test))).test
    return Setup(
        run=Run(options.run_dir),
        network=_network(options.weights).eval(),
        images=images[:batch],
        train=part_of(data.train, options.images),
        test=data.test,
        evaluate=evaluator(data.test),
        watch=evaluator(watched),
        device=torch.device(options.device),
        epochs=options.epochs,
        training={
            "optimizer": "adamw",
            "learning_rate": LEARNING_RATE,
            "rate_schedule": "cosine",
            "clip": CLIP,
            "mixed_precision": options.mixed_precision,
        },
        latency=latency,
    )


def budget(options: argparse.Namespace) -> str:
    """The length of each training, for readers of the tables."""
    images = options.images or "all"
    return f"{options.epochs:g} epochs of {images} training images, batches of {BATCH}, AdamW"


def config(options: argparse.Namespace, setup: Setup, *free: str) -> dict[str, Any]:
    """The options that a run that goes on must share: all but the free ones."""
    free = ("run_dir", "markdown", "weights", "device", *free)
    asked = {name: value for name, value in vars(options).items() if name not in free}
    return asked | {"network": fingerprint(setup.network.state_dict()), "settings": setup.training}


def _network(weights: str | None) -> AllCNNC:
    if weights is None:
        return all_cnn_c("cifar10")
    network = all_cnn_c()
    network.load_state_dict(load_file(weights))
    return network
