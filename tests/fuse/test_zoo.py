"""Networks of torchvision, fused: one of each family, shallow; all, and whole, if so asked."""

import random
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models

from tests.fuse.checks import fused_alike, images
from tests.fuse.networks import with_statistics
from tests.shallow import WHOLE_ZOO
from tests.shallow import network as made
from virtualpool.fuse import Report

# The size of the example images, other sizes that the network takes.
NETWORKS = {
    "alexnet": ((64, 67), [(97, 80)]),
    "vgg11_bn": ((32, 37), [(49, 64)]),
    "resnet18": ((64, 65), [(75, 90)]),
    "resnet50": ((33, 64), [(47, 50)]),
    "densenet121": ((64, 77), [(75, 66)]),
    "googlenet": ((64, 65), [(75, 66)]),
    "mobilenet_v2": ((64, 69), [(75, 90)]),
    "mobilenet_v3_small": ((64, 71), [(75, 90)]),
    "shufflenet_v2_x0_5": ((64, 66), [(75, 90)]),
    "squeezenet1_1": ((64, 73), [(75, 90)]),
    "mnasnet0_5": ((65, 64), [(75, 90)]),
    "regnet_y_400mf": ((64, 71), [(75, 66)]),
    "efficientnet_b0": ((64, 65), [(75, 66)]),
    "convnext_tiny": ((64, 70), [(75, 66)]),
}
# Slow networks, each with convolutions like one of those above, or with but one.
REST = {
    name: ((64, 69), [(75, 90)])
    for name in models.list_models(module=models)
    if name not in NETWORKS
} | {
    "inception_v3": ((96, 101), [(107, 92)]),
    "maxvit_t": ((224, 224), []),
    **{f"vit_{name}": ((64, 64), []) for name in ("b_16", "b_32", "l_16", "l_32")},
    "vit_h_14": ((112, 112), []),
}
# All of their convolutions are fused, and no map is interpolated.
ALL_FUSED = ("vgg11_bn", "googlenet", "mobilenet_v2", "shufflenet_v2_x0_5", "mnasnet0_5")
OPTIONS = {
    # Only training has the auxiliary classifiers.
    "googlenet": {"init_weights": False, "aux_logits": False},
    "inception_v3": {"init_weights": False},
}


def network(name: str, side: int) -> nn.Module:
    """A network in float64, in eval mode, with batch norms and outputs that are not trivial."""
    torch.manual_seed(0)
    options: dict[str, Any] = dict(OPTIONS.get(name, {}))
    if name.startswith("vit"):
        options["image_size"] = side
    model = made(name, **options)
    if isinstance(model, models.VisionTransformer):
        nn.init.normal_(model.get_parameter("heads.head.weight"))
    if name.startswith(("vgg", "alexnet")):
        # Nine tenths of the weights are in layers that see no map.
        model.classifier = nn.Identity()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            with_statistics(module)
    return model.double().eval()


@pytest.mark.parametrize("name", [*NETWORKS, *(REST if WHOLE_ZOO else [])])
def test_it_computes_what_the_pooled_network_does(name):
    size, others = (NETWORKS | REST)[name]
    model, example = network(name, size[0]), images(*size, batch=1)
    more = [images(*other, batch=1) for other in others]
    report = fused_alike(model, example, "all", others=more)
    sites = sites_of(report)
    if name in ALL_FUSED:
        convolutions = [each for each in model.modules() if isinstance(each, nn.Conv2d)]
        assert (len(report.fused), report.interpolations) == (len(convolutions), ())
    draw = random.Random(name)
    for names in (draw.sample(sites, (len(sites) + 1) // 2), draw.sample(sites, 1)):
        report = fused_alike(model, example, names, others=more)
        assert sorted(sites_of(report)) == sorted(names)


def sites_of(report: Report) -> list[str]:
    """The sites that were fused or are interpolated; none was left as it was."""
    assert not report.left
    interpolated = [site for each in report.interpolations for site in each.sites]
    return list(dict.fromkeys([*report.fused, *interpolated]))
