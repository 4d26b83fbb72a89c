"""Fused against unfused, before a training step and after it: prints a table.

    python -m benchmarks.coverage.after_a_step

Networks of torchvision and timm with random weights, in float64, all sites pooled. Unfused and
fused take the same step of SGD with momentum; then both are asked in eval mode. The images of the
batch differ, and gradients are clipped: batch norm over few alike values has gradients of 1e8, and
networks that take such a step give no finite outputs, fused or not.
"""

import argparse
import sys

import timm
import torch
from torch import Tensor, nn
from torchvision.models import list_models

import virtualpool as vp
from benchmarks.common.networks import alive, build
from benchmarks.common.tables import table

NETWORKS = """
    alexnet vgg11_bn resnet18 resnet50 densenet121 googlenet mobilenet_v2 mobilenet_v3_small
    shufflenet_v2_x0_5 squeezenet1_1 mnasnet0_5 regnet_y_400mf efficientnet_b0 convnext_tiny
    resnet18d seresnet18 repvgg_a0 ese_vovnet19b_dw dla34 lcnet_050 tinynet_e mixnet_s
    resnetv2_50 efficientnet_lite0 cspdarknet53
""".split()
TOLERANCE = 1e-10
IMAGES = 4


def network(name: str) -> nn.Module:
    """A network in float64, in eval mode, without dropout: it is drawn on maps of other sizes."""
    torch.manual_seed(0)
    model = build(name) if name in list_models() else timm.create_model(name)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    with torch.no_grad():
        return alive(model.double().eval())


def step(model: nn.Module, images: Tensor) -> None:
    """One step of training."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    torch.manual_seed(0)
    outputs = model.train()(images)
    logits = outputs if isinstance(outputs, Tensor) else outputs[0]
    logits.square().mean().backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    model.eval()


@torch.no_grad()
def difference(one: nn.Module, other: nn.Module, images: Tensor) -> float:
    """The largest difference of two models' outputs, relative to the largest output."""
    expected = other(images)
    return ((one(images) - expected).abs().max() / expected.abs().max()).item()


def examine(name: str, side: int) -> list[str]:
    """The row of a network: its name, sites pooled, and both differences."""
    images = torch.rand(IMAGES, 3, side, side, dtype=torch.float64)
    unfused = vp.apply(network(name), images[:1])
    fused = vp.fuse(unfused, images[:1])
    differences = [difference(fused, unfused, images)]
    for model in (unfused, fused):
        step(model, images)
    differences.append(difference(fused, unfused, images))
    return [name, str(len(vp.plan_of(unfused).names)), *(f"{each:.0e}" for each in differences)]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=64, help="of the square images, in pixels")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="of torchvision or timm")
    options = parser.parse_args()
    rows = []
    for name in options.networks:
        rows.append(examine(name, options.side))
        print(*rows[-1], flush=True)
    print(table(["network", "sites pooled", "difference", "after a step"], rows))
    # "nan" is no number below the tolerance either.
    return 0 if all(float(each) < TOLERANCE for row in rows for each in row[2:]) else 1


if __name__ == "__main__":
    sys.exit(main())
