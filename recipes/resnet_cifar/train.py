"""Fine-tunes the published ResNet-20 or ResNet-56 for CIFAR-10 on a folder of images.

    python recipes/resnet_cifar/train.py resnet20 --weights resnet20-cifar10.safetensors \
        --data cifar10 --run-dir runs/resnet20

The published weights were trained on other files: on JPEG images their accuracy is ten points
lower. Stopped, it goes on when it is started again. At the end `network.safetensors` is in the
run's directory; the losses, and the accuracy after each epoch, are in `training.jsonl`.
"""

import argparse
from pathlib import Path

import torch
from network import MEAN, STD, resnet20, resnet56
from safetensors.torch import load_file

from virtualpool import save
from virtualpool.observer import printed
from virtualpool.search import Round, by_labels
from virtualpool.tasks.classification import Preprocessing, evaluator, load_data

NETWORKS = {"resnet20": resnet20, "resnet56": resnet56}


def main() -> None:
    """Trains, and writes the network."""
    options = _options()
    if options.threads:
        torch.set_num_threads(options.threads)
    preparation = Preprocessing(size=32, mean=MEAN, std=STD, augmentation="crop")
    data = load_data(options.data, preprocessing=preparation)
    assert data.train is not None
    model = NETWORKS[options.network]()
    # What is missing counts batches alone.
    model.load_state_dict(load_file(options.weights), strict=False)
    finetune = by_labels(
        data.train,
        epochs=options.epochs,
        learning_rate=options.learning_rate,
        rate_schedule="cosine",
        weight_decay=1e-4,
    )
    evaluate = evaluator(data.test)
    print(f"before: {evaluate(model)}", flush=True)
    whole = Round.of_training(options.run_dir, evaluate, printed)
    finetune(model, whole)
    save(model, options.run_dir / "network.safetensors")
    print(f"after: {evaluate(model)}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--weights", type=Path, required=True, help="the published ones")
    parser.add_argument("--data", type=Path, required=True, help="{train,test}/CLASS/IMAGE")
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--epochs", type=float, default=6)
    parser.add_argument("--learning-rate", type=float, default=0.02)
    parser.add_argument("--threads", type=int, help="of torch; as many as it takes itself")
    return parser.parse_args()


if __name__ == "__main__":
    main()
