"""Networks for segmentation, all sites pooled and fused: the maps that are still interpolated.

    python -m benchmarks.coverage.segmentation
    PYTHONPATH=/path/with/smp python -m benchmarks.coverage.segmentation --only smp

Weights are random, float64, images 128x128 (256x256 for torchvision's): no accuracy, only whether
the fused network equals the pooled one. Libraries that are not installed are left out; they are
installed by `pip install --target FOLDER --no-deps segmentation_models_pytorch monai`.
"""

import argparse
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torchvision.models import segmentation

import virtualpool as vp
from benchmarks.coverage.unet import UNet
from virtualpool.fuse import report_of
from virtualpool.graph.inputs import tensors

Network = tuple[str, Callable[[], nn.Module], int]


def main() -> None:
    """Prints a table."""
    options = _options()
    torch.manual_seed(0)
    print("| network | sites | maps interpolated | asked for by | largest difference |")
    print("|---|---|---|---|---|")
    for name, build, side in _networks():
        if options.only in name:
            print(_row(name, build, side, options.border), flush=True)


def _row(name: str, build: Callable[[], nn.Module], side: int, border: Any) -> str:
    model = build().double().eval()
    _settle(model)
    images = torch.rand(1, 3, side, side, dtype=torch.float64)
    pooled = vp.apply(model, images, border=border)
    fused = vp.fuse(pooled, images)
    report = report_of(fused)
    assert report is not None
    with torch.no_grad():
        pairs = zip(tensors(fused(images)), tensors(pooled(images)), strict=True)
        off = max(float((one - other).abs().max() / other.abs().max()) for one, other in pairs)
    askers = dict.fromkeys(who for each in report.interpolations for who in each.asked_by)
    count = len(report.interpolations)
    return (
        f"| {name} | {len(vp.plan_of(pooled).names)} | {count} | {', '.join(askers)} | {off:.0e} |"
    )


def _settle(model: nn.Module) -> None:
    """Batch norms that do something: random statistics."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # pyright: ignore


def _networks() -> Iterator[Network]:
    yield "benchmarks.coverage.unet", UNet, 64
    for name in (
        "fcn_resnet50", "deeplabv3_resnet50", "deeplabv3_mobilenet_v3_large",
        "lraspp_mobilenet_v3_large",
    ):  # fmt: skip
        builder = getattr(segmentation, name)
        yield (
            f"torchvision {name}",
            lambda builder=builder: builder(weights=None, weights_backbone=None),
            256,
        )
    if smp := _found("segmentation_models_pytorch"):
        for kind in ("Unet", "UnetPlusPlus", "FPN", "Linknet", "DeepLabV3Plus", "PSPNet", "PAN"):
            builder = getattr(smp, kind)
            yield (
                f"smp {kind}, resnet18",
                lambda builder=builder: builder("resnet18", encoder_weights=None, classes=3),
                128,
            )
    if monai := _found("monai.networks.nets"):
        widths = {"channels": (8, 16, 32, 64), "strides": (2, 2, 2)}
        yield (
            "monai UNet, 2 residual units",
            lambda: monai.UNet(2, 3, 2, **widths, num_res_units=2, norm="batch"),
            64,
        )
        yield "monai UNet", lambda: monai.UNet(2, 3, 2, **widths, norm="batch"), 64
        yield "monai BasicUNet", lambda: monai.BasicUNet(2, 3, 2, norm="batch"), 64


def _found(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="a part of the names")
    parser.add_argument("--border", choices=("exact", "padded"), default="exact")
    return parser.parse_args()


if __name__ == "__main__":
    main()
