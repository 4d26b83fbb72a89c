"""Networks of torchvision with a few blocks of each kind: whole ones have no other operations."""

import os
from typing import Any

from torch import nn
from torchvision.models import DenseNet, EfficientNet, MobileNetV2, get_model
from torchvision.models.efficientnet import MBConvConfig

WHOLE_ZOO = os.environ.get("VIRTUALPOOL_ZOO") == "all"
"""Whether networks are whole, and all there are: that takes an hour."""


def network(name: str, **options: Any) -> nn.Module:
    """A network with random weights; shallow, if the whole zoo is not asked for."""
    if WHOLE_ZOO:
        return get_model(name, weights=None, **options)
    if name == "densenet121":
        return DenseNet(16, (2, 2, 2, 2), 32, **options)
    if name == "efficientnet_b0":
        stages = [
            MBConvConfig(1, 3, 1, 32, 16, 1), MBConvConfig(6, 3, 2, 16, 24, 2),
            MBConvConfig(6, 5, 2, 24, 40, 2), MBConvConfig(6, 3, 2, 40, 80, 1),
            MBConvConfig(6, 5, 1, 80, 112, 1),
        ]  # fmt: skip
        return EfficientNet(stages, dropout=0.2, **options)
    if name == "mobilenet_v2":
        stages = [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 2, 2], [6, 64, 1, 2], [6, 96, 1, 1]]
        return MobileNetV2(inverted_residual_setting=stages, **options)
    return without_repetitions(get_model(name, weights=None, **options))


def without_repetitions(model: nn.Module) -> nn.Module:
    """The model without blocks that have the class and the shapes of the block before."""
    for module in [each for each in model.modules() if isinstance(each, nn.Sequential)]:
        for place in reversed(range(1, len(module))):
            block = module[place]
            if shapes(block) and shapes(block) == shapes(module[place - 1]):
                del module[place]
    return model


def shapes(block: nn.Module) -> list[tuple[Any, ...]]:
    """The shape of each parameter of a block, after its class."""
    return [(type(block), name, *each.shape) for name, each in block.named_parameters()]
