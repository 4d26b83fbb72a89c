"""Trains the detector's heads alone on maps of its trunk that are computed once.

    python recipes/faster_rcnn_vgg16/heads.py --trunk vgg16-imagenet-trunk.safetensors \
        --data bccd/BCCD --run-dir runs/bccd600_heads --side 600

The trunk keeps the weights of ImageNet. So an original at the paper's size of images takes
minutes on two cores without bfloat16, where train.py takes hours; it is less precise. The maps
of all images are held in memory: 4 MB each at 600 pixels.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.image_list import ImageList
from train import SIDE, detector

from virtualpool import save
from virtualpool.tasks.detection import evaluator, load_data


@dataclass(frozen=True)
class Seen:
    """An image as the heads see it: its map, its size and its boxes, all resized."""

    map: Tensor
    size: tuple[int, int]
    target: dict[str, Tensor]


def main() -> None:
    """Trains, judges, and writes the detector."""
    options = _options()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads or torch.get_num_threads())
    data = load_data(options.data, augmentation="none", batch_size=1, workers=0)
    model = detector(options.trunk, options.side)
    seen = list(_seen(model, data.train or ()))
    heads = [*model.rpn.parameters(), *model.roi_heads.parameters()]
    steps = options.epochs * len(seen)
    optimizer = torch.optim.AdamW(heads, options.learning_rate)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.learning_rate, steps)
    model.train()
    for epoch in range(options.epochs):
        total = 0.0
        for number in torch.randperm(len(seen)).tolist():
            loss = _loss(model, seen[number])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(heads, 10.0)
            optimizer.step()
            rates.step()
            total += float(loss)
        print(f"epoch {epoch + 1} of {options.epochs}: loss {total / len(seen):.3f}", flush=True)
    options.run_dir.mkdir(parents=True, exist_ok=True)
    save(model.eval(), options.run_dir / "detector.safetensors")
    print(evaluator(data.test)(model).metrics)


@torch.no_grad()
def _seen(model: FasterRCNN, batches: Any) -> Iterator[Seen]:
    model.eval()
    for images, targets in batches:
        resized, changed = model.transform(images, targets)
        for map, size, target in zip(
            model.backbone(resized.tensors), resized.image_sizes, changed or (), strict=True
        ):
            yield Seen(map[None], size, target)


def _loss(model: FasterRCNN, seen: Seen) -> Tensor:
    maps = {"0": seen.map}
    # The heads ask the images for their sizes alone.
    height, width = seen.size
    images = ImageList(torch.empty(1, 3, height, width), [seen.size])
    proposals, losses = model.rpn(images, maps, [seen.target])
    _, more = model.roi_heads(maps, proposals, images.image_sizes, [seen.target])
    return torch.stack([*losses.values(), *more.values()]).sum()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trunk", type=Path, required=True, help="features.N.weight and .bias")
    parser.add_argument("--data", type=Path, required=True, help="a folder in the layout of VOC")
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--side", type=int, default=SIDE, help="the images' shorter one, in pixels")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--threads", type=int, help="of torch; as many as it takes itself")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
