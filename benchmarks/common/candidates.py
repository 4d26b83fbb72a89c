"""The candidates of every benchmark: a network unmodified, unfused, fused, at half resolution."""

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

import virtualpool as vp
from benchmarks.common.engines import Engine
from virtualpool.apply import apply_plan

NAMES = ("unmodified", "unfused", "fused", "half resolution")


@dataclass(frozen=True)
class Candidate:
    """One way to run a network.

    Attributes:
        model: in the mode that it is run in.
        images: the images to run it on.
        reference: the model whose outputs it must have, on the same images.
        engine: runs it, if not the engine of the others that it is compared with.
    """

    model: nn.Module
    images: Tensor
    reference: nn.Module
    engine: Engine | None = None


def candidates(
    network: nn.Module, images: Tensor, *, training: bool = False
) -> dict[str, Candidate]:
    """The candidates by their names, in the order of `NAMES`; all eligible sites are pooled.

    They are for inference, in eval mode, or for training, in training mode. The unmodified network
    at half resolution has the multiply-accumulates of the pooled one, and is the practical limit
    of its speed.
    """
    network.train(training)
    pooled = vp.apply(network, images, "all")
    models = [
        Candidate(network, images, network),
        Candidate(pooled, images, pooled),
        Candidate(vp.fuse(pooled, images, training=training), images, pooled),
        Candidate(network, halved(images), network),
    ]
    return dict(zip(NAMES, models, strict=True))


def with_padded_borders(network: nn.Module, images: Tensor, *, training: bool = False) -> Candidate:
    """The network with all sites pooled and padded borders, fused."""
    pooled = vp.apply(network, images, "all", border="padded")
    return Candidate(vp.fuse(pooled, images, training=training), images, pooled)


def with_full_sums(network: nn.Module, images: Tensor, pooled: nn.Module) -> nn.Module:
    """The network with the sites of a pooled one, but with its sums of recovered maps in full."""
    return apply_plan(network, images, replace(vp.plan_of(pooled), sums=()))


def halved(images: Tensor) -> Tensor:
    """Images of half resolution, rounded up: the corners, since the images are noise.

    >>> import torch
    >>> halved(torch.zeros(1, 3, 224, 299)).shape
    torch.Size([1, 3, 112, 150])
    """
    height, width = ((length + 1) // 2 for length in images.shape[-2:])
    return images[..., :height, :width].clone()


def scale_with(macs: int, model: nn.Module, example_inputs: Any) -> float:
    """The image scale with the multiply-accumulates that come nearest, by whole pixels."""
    whole = vp.measure.macs(model, example_inputs)
    high = example_inputs[0].shape[-2]  # of a batch or of a list of images
    # Multiply-accumulates grow with the square of the height, but for rounding.
    guess = round(high * (macs / whole) ** 0.5)

    def away(height: int) -> int:
        smaller = vp.apply(model, example_inputs, [], image_scale=height / high)
        return abs(vp.measure.macs(smaller, example_inputs) - macs)

    return min(range(guess - 2, min(guess + 3, high)), key=away) / high
