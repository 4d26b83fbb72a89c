"""A fused model that trains another: both have the same parameters and buffers."""

from typing import Any

from torch import nn

from virtualpool.fuse.fusing import fuse


def training_twin(model: nn.Module, example_inputs: Any) -> nn.Module:
    """A model, fused for training, whose parameters and buffers are those of `model` themselves.

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
        own._parameters.update(module._parameters)
        own._buffers.update(module._buffers)
    return twin
