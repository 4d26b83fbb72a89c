"""Gradient steps on a layer's weights, after its solve in closed form.

Least squares count the error before the activation, and at the positions that are computed. What
the next layer reads is activated and interpolated, and this error has no closed form.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from virtualpool import processes
from virtualpool.operator.pool import virtual_pool
from virtualpool.recover.layers import Layer

_IMAGES = 16
"""Of a step, about; so many that a layer's gradient is not chance."""
_PIECES = 8
"""At most so many steps by one batch, whose parts are taken in a row."""
_RATE = 0.02
"""Of the first step, in parts of the weights' mean size. It falls to zero along half a cosine."""

_PASSES, _LEAST_STEPS = 2, 60
"""Over the images, where it is not said how many steps; and the steps of few images."""
_FEWEST = 16
"""Channels of a layer that PyTorch trains safely in channels last."""

Passes = Callable[[], Iterator[tuple[int, list[tuple[Tensor, Tensor]]]]]
"""Goes through the batches of this process: the number of each, and of each call of the layer its
input and the output that it should have."""


def usual_steps(images: int) -> int:
    """How many steps are worth their time with so many images: two passes, and 60 at least.

    >>> usual_steps(24), usual_steps(1600)
    (60, 200)
    """
    return max(_LEAST_STEPS, math.ceil(_PASSES * images / _IMAGES))


def error_of(layer: Layer, x: Tensor, wanted: Tensor) -> Tensor:
    """The square error of a layer's map, after activation and interpolation.

    Zero where the layer gives another map than is wanted.
    """
    out = layer.after(layer.module(_laid_out(layer.module, x)))
    if layer.is_site:
        out = virtual_pool(out, (wanted.shape[-2], wanted.shape[-1]))
    if out.shape != wanted.shape:
        return wanted.new_zeros((), dtype=torch.float64)
    out, wanted = (each if each.dtype is torch.float64 else each.float() for each in (out, wanted))
    return (out - wanted).square().sum(dtype=torch.float64)


def _laid_out(module: nn.Module, x: Tensor) -> Tensor:
    """The input of a layer, contiguous where PyTorch would end the process.

    The backward pass of a strided 1x1 convolution of fewer than 16 channels in channels last
    writes outside of its memory ("double free"), on processors, in PyTorch 2.9 to 2.14 at least.
    """
    if (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and module.stride != (1, 1)
        and module.in_channels < _FEWEST
    ):
        return x.contiguous()
    return x


class Refining:
    """The gradient steps of layers. Each process takes the ones by its own batches, for all.

    Args:
        steps: of each layer.
        batches: of all processes.
    """

    def __init__(self, steps: int, batches: int) -> None:
        self._steps, self._batches = steps, batches

    def refine(self, layer: Layer, passes: Passes) -> bool:
        """Changes a layer in place, and says whether it does: half precision is too coarse."""
        weights = [each for each in (layer.module.weight, layer.module.bias) if each is not None]
        if not self._steps or any(each.dtype.itemsize < 4 for each in weights):
            return False
        rates = [_RATE * float(each.detach().abs().mean()) for each in weights]
        groups = [{"params": [it], "lr": rate} for it, rate in zip(weights, rates, strict=True)]
        optimizer = torch.optim.Adam(groups)
        with _trained(weights):
            pieces = itertools.islice(self._pieces(layer, passes), self._steps)
            for step, piece in enumerate(pieces):
                gradients = _gradients(layer, weights, piece)
                processes.add_up(gradients)
                factor = (1 + math.cos(math.pi * step / self._steps)) / 2
                for it, gradient, rate, group in zip(
                    weights, gradients, rates, optimizer.param_groups, strict=True
                ):
                    it.grad, group["lr"] = gradient, rate * factor
                optimizer.step()
        return True

    def _pieces(self, layer: Layer, passes: Passes) -> Iterator[tuple[Tensor, Tensor] | None]:
        """The parts of batches that steps look at, pass after pass; None for another process's."""
        while True:
            found = False
            for pieces in self._batches_of(passes):
                count = torch.tensor([len(pieces or ())], device=layer.weight.device)
                processes.add_up([count])
                found |= bool(count)
                yield from pieces or [None] * int(count)
            if not found:
                return

    def _batches_of(self, passes: Passes) -> Iterator[list[tuple[Tensor, Tensor]] | None]:
        """The pieces of all batches in their order; None for another process's batch."""
        own = passes()
        count = processes.count() if processes.is_connected() else 1
        for number in range(self._batches):
            if number % count == processes.rank() % count:
                yield [piece for call in next(own)[1] for piece in _pieces_of(*call)]
            else:
                yield None


def _pieces_of(x: Tensor, target: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Parts of a batch, of images from all over it: they often come class by class."""
    if (x.ndim != 4 and x.ndim != 2) or len(x) != len(target):
        yield x, target  # one image, or no batch of images
        return
    count = min(_PIECES, max(1, round(len(x) / _IMAGES)))
    for first in range(count):
        chosen = torch.arange(first, len(x), count, device=x.device)
        yield x[chosen], target[chosen]


def _gradients(
    layer: Layer, weights: list[nn.Parameter], piece: tuple[Tensor, Tensor] | None
) -> list[Tensor]:
    """Of a layer's relative error; zeros where another process looks at the piece."""
    # Processes add up memory, so its order has to be the same in all of them.
    zeros = [torch.zeros_like(each, memory_format=torch.contiguous_format) for each in weights]
    if piece is None:
        return zeros
    x, target = piece
    wanted = layer.after_original(target)
    with torch.enable_grad():
        error = error_of(layer, x, wanted)
        if not error.requires_grad:
            return zeros
        scale = wanted.square().sum(dtype=torch.float64).clamp_min(1e-12)
        return [each.contiguous() for each in torch.autograd.grad(error / scale, weights)]


@contextmanager
def _trained(weights: list[nn.Parameter]) -> Iterator[None]:
    """Lets weights have gradients, within."""
    flags = [each.requires_grad for each in weights]
    for each in weights:
        each.requires_grad_(True)
    try:
        yield
    finally:
        for each, flag in zip(weights, flags, strict=True):
            each.requires_grad_(flag).grad = None
