"""Prints how fast the rounds are before anything is trained, as Markdown.

    python recipes/faster_rcnn_vgg16/speed.py --trunk vgg16-imagenet-trunk.safetensors \
        --data bccd/BCCD --side 600

However a detector was trained, it classifies as many proposals. What comes after the heads depends
on what they find, so a trained one takes another time.
"""

import argparse
from pathlib import Path

from results import HALF, ORIGINAL, speed, split
from torch import nn
from train import SIDE, detector

from virtualpool import apply, fuse
from virtualpool.documents import read_document
from virtualpool.tasks.detection import load_data

ROUNDS = Path(__file__).with_name("rounds.json")


def main() -> None:
    """Times the original, each round unfused and fused, and at half resolution."""
    options = _options()
    original = detector(options.trunk, options.side).eval()
    half = detector(options.trunk, options.side // 2)
    half.load_state_dict(original.state_dict())
    test = load_data(options.data, workers=0).test
    images = [next(iter(test))[0][0].to(options.device)]
    model = original.to(options.device)
    models: dict[str, nn.Module] = {ORIGINAL: original, HALF: half.eval().to(options.device)}
    for index, names in enumerate(read_document(options.rounds_file), 1):
        model = apply(model, images, names)
        models[f"round-{index:02d}, unfused"] = model
        models[f"round-{index:02d}, fused"] = fuse(model, images)
    print(speed(models, images, options.duration_s))
    last = list(models)[-1]
    print(split({name: models[name] for name in (ORIGINAL, last, HALF)}, images))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trunk", type=Path, help="features.N.weight and .bias")
    parser.add_argument("--data", type=Path, required=True, help="a folder in the layout of VOC")
    parser.add_argument("--side", type=int, default=SIDE, help="the images' shorter one, in pixels")
    parser.add_argument("--rounds-file", type=Path, default=ROUNDS, help="the sites of each round")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--duration-s", type=float, default=5, help="of timing, per model")
    return parser.parse_args()


if __name__ == "__main__":
    main()
