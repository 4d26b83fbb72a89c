"""The networks that are measured, and images for them.

Torchvision's have random weights, but are alive as trained ones are; All-CNN-C is trained.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import detection, get_model, get_model_weights, list_models, segmentation

from virtualpool.cli.network import load_network
from virtualpool.models import all_cnn_c
from virtualpool.search import by_recalibration

ALL_CNN_C = "all_cnn_c"

_SEED = 0
_IMAGES = 4


def network(name: str, side: int) -> nn.Module:
    """A network in eval mode whose weights are the same in every process.

    Args:
        name: its name in torchvision, or a submodule's after a dot: `vgg16.features`; or
            `ALL_CNN_C`; or MODEL of the command, as in `timm:dla34`.
        side: of the square images that it will see, in pixels.
    """
    if name == ALL_CNN_C:
        return all_cnn_c("cifar10").eval()
    torch.manual_seed(_SEED)
    model = _found(name).eval()
    if any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        # Where statistics do not fit the maps, values grow or vanish with depth: outputs then
        # say nothing, and denormal numbers take a time of their own.
        with torch.no_grad():
            by_recalibration([images(_IMAGES, side)])(model)
    return model


def _found(name: str) -> nn.Module:
    if ":" in name:
        return load_network(name).module
    whole, _, submodule = name.partition(".")
    return build(whole).get_submodule(submodule)


def build(network: str) -> nn.Module:
    """A network of torchvision, by its name, with random weights, its trunk's too."""
    options: dict[str, Any] = {}
    if network in ("googlenet", "inception_v3"):
        # These two warn of their slow initialisation unless they are told not to do it.
        options["init_weights"] = False
    if network in (*list_models(detection), *list_models(segmentation)):
        options["weights_backbone"] = None
    return get_model(network, weights=None, **options)


def usual_side(name: str) -> int:
    """The side of the square images that a network is measured with."""
    return 32 if name == ALL_CNN_C else 224


def input_side(network: str) -> int:
    """The smallest input that torchvision has weights for."""
    return min(weights.transforms().crop_size[0] for weights in get_model_weights(network))


def images(batch: int, height: int, width: int | None = None) -> Tensor:
    """Random images, the same in every process: (batch, 3, height, width or height), float32."""
    generator = torch.Generator().manual_seed(_SEED)
    return torch.randn(batch, 3, height, width or height, generator=generator)


def alive(model: nn.Module) -> nn.Module:
    """The model with batch norms and scales that are not nothing, as they are at first."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in (
                (module.weight, 0.8, 1.2),
                (module.running_var, 0.8, 1.2),
                (module.running_mean, -0.1, 0.1),
            ):
                if values is not None:
                    values.uniform_(low, high)
    for name, parameter in model.named_parameters():
        if name.endswith(("gamma", "layer_scale")):
            parameter.uniform_(0.5, 1.5)
    return model
