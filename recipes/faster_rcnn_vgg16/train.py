"""Trains the paper's detector, Faster R-CNN on VGG-16, on microscope images of blood cells.

    python recipes/faster_rcnn_vgg16/train.py --trunk vgg16-imagenet-trunk.safetensors \
        --data bccd/BCCD --run-dir runs/bccd

The trunk begins with weights of ImageNet; its first four convolutions keep them, as Ren et al. do.
With `--weights` a trained detector goes on instead, all of its layers, with `--side 150` on images
of half resolution: what pooling is to be compared with. `--side 600` is the paper's size of images.
Stopped, it goes on when it is started again. At the end `detector.safetensors` is in the run's
directory; the losses, and after each epoch the mean average precisions, are in `training.jsonl`.
"""

import argparse
from pathlib import Path

from torchvision.models.detection import FasterRCNN

from virtualpool import load, save
from virtualpool.models import faster_rcnn_vgg16
from virtualpool.observer import printed
from virtualpool.search import Round, by_labels
from virtualpool.tasks.detection import detector_loss, evaluator, load_data

FROZEN_LAYERS = 10
CLASSES = 3
SIDE = 300
ANCHORS = (16, 32, 64, 128)
PROPOSALS = 50
"""That are classified. An image has 30 cells at most; with 100 the mean precision is not higher."""


def main() -> None:
    """Trains, and writes the detector."""
    options = _options()
    data = load_data(
        options.data,
        augmentation="flip both",
        batch_size=options.batch_size,
        workers=options.workers,
    )
    model = detector(options.trunk, options.side)
    if options.weights:
        model = load(model, options.weights)
    else:
        for layer in list(model.backbone.get_submodule("features").children())[:FROZEN_LAYERS]:
            layer.requires_grad_(False)
    finetune = by_labels(
        data.train or (),
        loss=detector_loss,
        epochs=options.epochs,
        optimizer="adamw",
        learning_rate=options.learning_rate,
        rate_schedule="cosine",
        clip=10.0,
        mixed_precision=options.precision,
    )
    model.to(options.device)
    evaluate = evaluator(data.test, mixed_precision=options.precision)
    finetune(model, Round.of_training(options.run_dir, evaluate, printed))
    save(model, options.run_dir / "detector.safetensors")
    print(evaluator(data.test)(model).metrics)


def detector(trunk: Path | None = None, side: int = SIDE) -> FasterRCNN:
    """The detector for cells: those are smaller than VOC's objects, and so are the images.

    Args:
        trunk: weights to begin with, in place of random ones.
        side: the shorter one's, in pixels, that images are resized to; anchors are in proportion.
    """
    return faster_rcnn_vgg16(
        CLASSES,
        trunk=trunk,
        anchor_sizes=tuple(anchor * side // SIDE for anchor in ANCHORS),
        hidden=1024,
        min_size=side,
        max_size=500 * side // SIDE,
        rpn_post_nms_top_n_test=PROPOSALS,
        box_batch_size_per_image=128,
    )


def detector_600() -> FasterRCNN:
    """The same for the paper's size of images."""
    return detector(side=600)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    begin = parser.add_mutually_exclusive_group(required=True)
    begin.add_argument("--trunk", type=Path, help="features.N.weight and .bias")
    begin.add_argument("--weights", type=Path, help="of a detector that was trained before")
    parser.add_argument("--data", type=Path, required=True, help="a folder in the layout of VOC")
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--side", type=int, default=SIDE, help="the images' shorter one, in pixels")
    parser.add_argument("--epochs", type=float, default=20)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0, help="processes that decode images")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("no", "bf16"), default="bf16")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    return parser.parse_args()


if __name__ == "__main__":
    main()
