"""Trains a U-Net on VGG-16's trunk on CamVid: street scenes with a class at each pixel.

    python recipes/camvid/train.py --trunk vgg16-imagenet-trunk.safetensors --data camvid \
        --run-dir runs/camvid --threads 1

`--data` is a folder `{train,test}/<name>.jpg` with masks `{train,test}annot/<name>.png`. The trunk
keeps its weights of ImageNet: all of it trained with this optimiser ended at a mean IoU of 0.24,
for steps that suit a new decoder are too long for a trunk without batch norm. With `--weights` of
such a network and a tenth of the rate, the whole of it is trained. It trains on crops of
240 x 176 pixels, and is judged on whole images of 480 x 360. A step takes about 3.5 s of a
processor's time, an epoch 91 steps. Stopped, it goes on when it is started again: a checkpoint is
kept at each epoch's end, and every two minutes. The loss, and the mIoU on some test images after
each epoch, are in `training.jsonl` of the run's directory; at the end `network.safetensors` is too.
"""

import argparse
from pathlib import Path

import torch

from virtualpool import load, save
from virtualpool.models import UNetVGG16, unet_vgg16
from virtualpool.observer import printed
from virtualpool.search import Round, by_labels
from virtualpool.tasks.segmentation import (
    PixelLoss,
    Preparation,
    Segmentation,
    evaluator,
    load_data,
)

CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian",
    "bicyclist",
)  # fmt: skip
UNLABELLED = 11
CROP = (176, 240)
JUDGED_EACH_EPOCH = 30


def main() -> None:
    """Trains, and writes the network."""
    options = _options()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    data = opened(options.data, options.batch_size, options.workers)
    assert data.train is not None
    model = network(options.trunk)
    if options.weights:
        model = load(model, options.weights)
    model.features.requires_grad_(not options.trunk)
    finetune = by_labels(
        data.train,
        loss=PixelLoss(tuple(weight**0.5 for weight in data.class_weights()), UNLABELLED),
        epochs=options.epochs,
        optimizer="adamw",
        learning_rate=options.learning_rate,
        rate_schedule="cosine",
        clip=1.0,
        mixed_precision=options.precision,
        seed=options.seed,
    )
    some = opened(options.data, 4, options.workers, JUDGED_EACH_EPOCH)
    evaluate = evaluator(some.test, mixed_precision=options.precision)
    whole = Round.of_training(options.run_dir, evaluate, printed)
    finetune(model, whole)
    save(model, options.run_dir / "network.safetensors")
    score = evaluator(data.test)(model)
    print(f"mIoU {score}: {score.metrics}")


def network(trunk: Path | None = None) -> UNetVGG16:
    """The network for CamVid's classes; without weights of a trunk it begins at random."""
    return unet_vgg16(len(CLASSES), trunk=trunk)


def opened(
    folder: Path, batch_size: int, workers: int = 0, subset: int | None = None
) -> Segmentation:
    """CamVid, with crops to train on."""
    return load_data(
        folder,
        classes=CLASSES,
        ignored=UNLABELLED,
        preparation=Preparation(crop=CROP, augmentation="crop"),
        batch_size=batch_size,
        workers=workers,
        subset=subset,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--trunk", type=Path, help="features.N.weight and .bias, which stay")
    begin.add_argument("--weights", type=Path, help="a whole network, all of it trained on")
    parser.add_argument("--data", type=Path, required=True, help="CamVid's folder")
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--epochs", type=float, default=6)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--precision", choices=("no", "bf16"), default="no")
    parser.add_argument("--workers", type=int, default=0, help="processes that decode images")
    parser.add_argument("--threads", type=int, help="of torch; as many as it takes itself")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
