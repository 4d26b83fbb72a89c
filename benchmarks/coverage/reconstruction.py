"""Reconstruction of networks with random weights: is the outputs' error ever larger than before?

    python -m benchmarks.coverage.reconstruction

All sites of each network are pooled. Smooth random images solve, and as many others judge. The
error is the square of the outputs' difference from the unmodified network's, in parts of their
square. Detectors get images of changing sizes, and are judged by their trunk's maps.
"""

import argparse
import sys
import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import detection, list_models

import virtualpool as vp
from benchmarks.common.networks import alive, build
from benchmarks.common.setting import command, setting
from benchmarks.common.tables import table
from virtualpool.graph.inputs import tensors

NETWORKS = """
    resnet18 mobilenet_v3_small efficientnet_b0 densenet121 squeezenet1_1 shufflenet_v2_x0_5
    googlenet regnet_y_400mf mnasnet0_5 convnext_tiny
    fasterrcnn_mobilenet_v3_large_320_fpn ssdlite320_mobilenet_v3_large lraspp_mobilenet_v3_large
""".split()
HEAD = ["network", "sites", "error, pooled", "reconstructed", "seconds"]
IMAGES, BATCH = 24, 6


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=64, help="of the images, in pixels")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="of torchvision")
    parser.add_argument("--steps", type=int, help="gradient steps of each layer, if not as usual")
    options = parser.parse_args()
    rows, is_never_worse = [], True
    for name in options.networks:
        errors, row = examine(name, options.side, options.steps)
        is_never_worse &= errors[1] <= errors[0]
        rows.append(row)
        print(*row, flush=True)
    print(table(HEAD, rows))
    print(f"{setting(torch.get_num_threads(), ['torch', 'torchvision'])}\n\n    {command()}")
    return 0 if is_never_worse else 1


def examine(name: str, side: int, steps: int | None) -> tuple[list[float], list[str]]:
    """Both errors of a network, and its row."""
    torch.manual_seed(0)
    with torch.no_grad():
        model = alive(build(name).eval())
    is_detector = name in list_models(detection)
    solving, judging = (batches(side, seed, varied=is_detector) for seed in range(2))
    pooled = vp.apply(model, solving[0][0][:1] if is_detector else solving[0][:1])
    started = time.perf_counter()
    solved = vp.reconstruct(pooled, model, solving, steps=steps)
    seconds = time.perf_counter() - started
    errors = [error(each, model, judging) for each in (pooled, solved)]
    sites = str(len(vp.plan_of(pooled).sites))
    return errors, [name, sites, *(f"{each:.3g}" for each in errors), f"{seconds:.0f}"]


def batches(side: int, seed: int, *, varied: bool) -> list[Any]:
    """Batches of smooth random images; if varied, of lists of several sizes, as detectors' are."""
    generator = torch.Generator().manual_seed(seed)
    images = functional.interpolate(
        torch.randn(IMAGES, 3, 8, 8, generator=generator), (side, side), mode="bicubic"
    )
    if not varied:
        return [*images.split(BATCH)]
    sizes = [(side - 8 * (place % 3), side - 4 * (place % 4)) for place in range(BATCH)]
    return [
        ([one[:, :height, :width] for one, (height, width) in zip(it, sizes, strict=True)], {})
        for it in images.split(BATCH)
    ]


@torch.no_grad()
def error(model: nn.Module, original: nn.Module, judging: list[Any]) -> float:
    """The relative square error of all outputs."""
    wrong = whole = 0.0
    for images in judging:
        for one, other in zip(outputs(model, images), outputs(original, images), strict=True):
            wrong += float((one - other).square().sum())
            whole += float(other.square().sum())
    return wrong / whole


def outputs(model: Any, images: Any) -> list[Tensor]:
    """The outputs for a batch; of a detector its trunk's maps, since boxes are as many as found."""
    if isinstance(images, tuple):
        return tensors(model.backbone(model.transform(images[0])[0].tensors))
    return tensors(model(images))


if __name__ == "__main__":
    sys.exit(main())
