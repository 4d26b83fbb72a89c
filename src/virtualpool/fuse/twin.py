"""A fused model that trains another: both have the same parameters and buffers."""

from typing import Any

from torch import nn

from virtualpool.fuse.fusing import fuse
from virtualpool.torch_private import own_buffers, own_parameters


def training_twin(model: nn.Module, example_inputs: Any) -> nn.Module:
    """A model, fused for training, that shares its parameters and buffers with `model`.

    So to train the one is to train the other, at the fused one's speed.

    Args:
        model: a model with virtual pools.
        example_inputs: as for `fuse`.

    >>> import torch
    >>> from virtualpool import apply
    >>> images = torch.rand(1, 3, 32, 32)
    >>> model = apply(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()), images)
    >>> training_twin(model, images)[0].weight is model[0].weight
    True
    """
    twin = fuse(model, example_inputs, training=True)
    for name, module in model.named_modules():
        own = twin.get_submodule(name)
        own_parameters(own).update(own_parameters(module))
        own_buffers(own).update(own_buffers(module))
    return twin
