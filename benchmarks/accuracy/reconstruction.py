"""Accuracy of All-CNN-C on CIFAR-10 pooled, reconstructed without labels, and at a smaller image.

    python -m benchmarks.accuracy.reconstruction CIFAR10 [--images 1000] [--subset COUNT]

CIFAR10 is a folder `<split>/<class>/<image>`. Every plan is reconstructed with the same training
images, whose labels are not read, and judged on the test images. Beside it stands the unmodified
network on smaller images with about as many multiply-accumulates, without training too.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

import virtualpool as vp
from benchmarks.common.setting import command, setting
from benchmarks.common.tables import table
from virtualpool.files import write_text
from virtualpool.models import all_cnn_c
from virtualpool.search import resized
from virtualpool.tasks.classification import evaluator, load_data
from virtualpool.tasks.preprocessing import CIFAR10

PLANS = {
    "convs.1, 4": (["convs.1", "convs.4"], 0.75),
    "convs.1, 3, 4": (["convs.1", "convs.3", "convs.4"], 0.65),
    "convs.1, 3, 4, 5, 6": ([f"convs.{index}" for index in (1, 3, 4, 5, 6)], 0.57),
    "all nine": ("all", 0.5),
}
"""Of each plan its sites, and the image scale with about as many multiply-accumulates."""
HEAD = ("plan", "MACs", "pooled", "reconstructed", "seconds", "smaller image")
IMAGE = torch.zeros(1, 3, 32, 32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=1000, help="training images to solve with")
    parser.add_argument("--subset", type=int, help="judge on so many test images alone")
    parser.add_argument("--output", type=Path, help="a Markdown file; without, it is printed")
    given = parser.parse_args()
    preparation = replace(CIFAR10, augmentation="none")
    torch.manual_seed(0)
    data = load_data(given.folder, preprocessing=preparation, batch_size=50, subset=given.subset)
    assert data.train is not None
    batches = [
        images for (images, _), _ in zip(data.train, range(given.images // 50), strict=False)
    ]
    model, accuracy = all_cnn_c("cifar10").eval(), evaluator(data.test)
    rows = [
        row(name, sites, scale, model, batches, accuracy) for name, (sites, scale) in PLANS.items()
    ]
    text = (
        f"{given.images} training images without labels, {accuracy(model).samples} test images. "
        f"Unmodified: {100 * float(accuracy(model)):.1f} %.\n\n"
        f"{table(HEAD, rows)}\n{setting(torch.get_num_threads(), ['torch'])}\n\n    {command()}\n"
    )
    write_text(given.output, text) if given.output else print(text)


def row(
    name: str, sites: Any, scale: float, model: nn.Module, batches: list[Any], accuracy: Any
) -> list[str]:
    pooled = vp.apply(model, IMAGE, sites)
    started = time.perf_counter()
    solved = vp.reconstruct(pooled, model, batches)
    seconds = time.perf_counter() - started
    whole, part = (vp.measure.macs(it, IMAGE) for it in (model, pooled))
    side = round(scale * 32)
    smaller = vp.measure.macs(model, torch.zeros(1, 3, side, side))
    scores = [accuracy(it) for it in (pooled, solved, resized(model, side / 32))]
    cells = [f"{100 * float(score):.1f} %" for score in scores]
    return [
        name, f"1/{whole / part:.2f}", *cells[:2], f"{seconds:.0f}",
        f"{cells[2]}, {side} pixels, 1/{whole / smaller:.2f}",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
