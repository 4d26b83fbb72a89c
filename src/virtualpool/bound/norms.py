"""Upper bounds of the norms of linear maps: the most by which they can lengthen a vector.

All of them are at least the norm, in exact arithmetic; they are computed in float64.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from virtualpool.bound.errors import Gain
from virtualpool.graph.inputs import tensors
from virtualpool.operator.pool import Axes

_CLOSE = 0.98
"""How near to the norm of a convolution the largest sample of its symbol has to be."""

_MOST_WORK = 2**35
"""Multiplications for one grid of samples; where it would be more, the one before is enough."""

_AT_ONCE = 2**22
"""Entries of the symbol that are in memory together."""


def matrix_norm(matrix: Tensor) -> float:
    """The largest singular value of a matrix (rows, columns).

    >>> matrix_norm(torch.tensor([[3.0, 0.0], [0.0, -4.0], [0.0, 0.0]]))
    4.0
    """
    return _norms(matrix.double()).item()


def _norms(matrices: Tensor) -> Tensor:
    """The largest singular value of each matrix (..., rows, columns)."""
    wide = matrices if matrices.shape[-2] <= matrices.shape[-1] else matrices.mT
    return torch.linalg.eigvalsh(wide @ wide.mH)[..., -1].clamp_min(0).sqrt()


def convolution_norm(
    weight: Tensor, stride: Axes = (1, 1), dilation: Axes = (1, 1), groups: int = 1
) -> float:
    """An upper bound of the norm of a convolution with zero padding, for maps of every size.

    It is at most 2 % above the norm on maps without border, or 8 % where that would take long
    (`docs/bound.md` has the proof).

    Args:
        weight: (out, in / groups, rows, columns), real, of any dtype.
        stride: per axis.
        dilation: per axis.
        groups: as in `torch.nn.Conv2d`.

    >>> mean = torch.full((1, 1, 3, 3), 1 / 9)
    >>> 1 <= convolution_norm(mean) <= 1.02
    True
    """
    kernel = _phases(_spread(weight.double(), stride, dilation), stride)
    return _largest_of_symbol(kernel.unflatten(0, (groups, -1)))


def _largest_of_symbol(kernel: Tensor) -> float:
    """An upper bound of the norms of sum(kernel[..., r, c] * exp(i (r x + c y))) over all x and y.

    Between samples the norm is not much larger than at them. So the search begins with few and
    goes on around those that are large enough to be next to the largest.

    Args:
        kernel: (groups, out, in, rows, columns).
    """
    taps = kernel.shape[-2:]
    samples = [max(1, 4 * (count - 1)) for count in taps]
    places = _canonical(torch.cartesian_prod(*map(torch.arange, samples)), samples)
    work = kernel[..., 0, 0].numel() * min(kernel.shape[1:3])
    while True:
        frequencies = 2 * math.pi * places / torch.tensor(samples)
        parts = frequencies.split(max(1, _AT_ONCE // kernel[..., 0, 0].numel()))
        norms = torch.cat([_norms(_symbol(kernel, part)).amax(1) for part in parts])
        angles = (math.pi * (n - 1) / (2 * many) for n, many in zip(taps, samples, strict=True))
        nearness = math.cos(sum(angles))
        bound = norms.max().item() / nearness
        if nearness >= _CLOSE:
            return bound
        samples = [2 * many if count > 1 else 1 for count, many in zip(taps, samples, strict=True)]
        steps = [torch.tensor([-1, 0, 1] if count > 1 else [0]) for count in taps]
        around = torch.cartesian_prod(*steps)
        near = places[(norms >= nearness * norms.max()).cpu()]
        places = _canonical((2 * near[:, None] + around).flatten(0, 1), samples)
        if len(places) * work > _MOST_WORK:
            return bound


def _symbol(kernel: Tensor, frequencies: Tensor) -> Tensor:
    """(frequencies, groups, out, in), complex, at frequencies (n, 2)."""
    rows, columns = (torch.arange(count) for count in kernel.shape[-2:])
    angles = frequencies[:, :1, None] * rows[:, None] + frequencies[:, 1:, None] * columns
    waves = torch.polar(torch.ones_like(angles.double()), angles.double()).to(kernel.device)
    return torch.einsum("goirc,nrc->ngoi", kernel.to(waves.dtype), waves)


def _canonical(places: Tensor, samples: list[int]) -> Tensor:
    """Each place once, of a frequency and its negative one: there a real kernel has one norm."""
    many = torch.tensor(samples)
    places, opposite = places % many, -places % many
    number, other = (each[:, 0] * many[1] + each[:, 1] for each in (places, opposite))
    one = torch.minimum(number, other).unique()
    return torch.stack([one // many[1], one % many[1]], dim=1)


def repetitions(padded: Callable[[Tensor], Tensor], size: Axes) -> int:
    """How often a padding repeats a position of a map at most, itself included.

    Args:
        padded: pads the two axes of a map (1, 1, H, W).
        size: (H, W).

    >>> repetitions(lambda map: functional.pad(map, (2, 0, 0, 0), mode="replicate"), (4, 4))
    3
    """
    positions = torch.arange(1.0, 1 + size[0] * size[1], dtype=torch.float64).view(1, 1, *size)
    counts = padded(positions).flatten().long().bincount()
    return int(counts[1:].max())  # zeros are no position


def averaging_gain(operation: Callable[[Tensor], Any], example: Tensor) -> Gain:
    """The gain of a linear operation whose weights have one sign, from its sums of weights.

    With r the largest sum of the weights of an output and c the largest of the weights of an input,
    no error grows by more than r, and no norm by more than sqrt(r * c) (Schur's test).

    Args:
        operation: from a tensor to one or several; it may add a constant.
        example: an input of it.

    >>> averaging_gain(lambda x: functional.avg_pool2d(x, 2), torch.zeros(1, 3, 8, 8))
    Gain(largest=1.0, norm=0.5)
    """
    zeros = torch.zeros_like(example, dtype=torch.float64)
    with torch.enable_grad():
        ones = torch.ones_like(zeros).requires_grad_()
        results = tensors(operation(ones))
        [of_inputs] = torch.autograd.grad([result.sum() for result in results], ones)
    of_outputs = [
        (result - constant).abs().max().item()
        for result, constant in zip(results, tensors(operation(zeros)), strict=True)
    ]
    return Gain(max(of_outputs), math.sqrt(max(of_outputs) * of_inputs.abs().max().item()))


def _spread(weight: Tensor, stride: Axes, dilation: Axes) -> Tensor:
    """The kernel with the zeros of its dilation between its taps.

    Without a stride each lattice of positions is convolved by itself, as without dilation.
    """
    rows, columns = (d if s > 1 else 1 for s, d in zip(stride, dilation, strict=True))
    height, width = weight.shape[-2:]
    size = rows * (height - 1) + 1, columns * (width - 1) + 1
    spread = weight.new_zeros(*weight.shape[:2], *size)
    spread[..., ::rows, ::columns] = weight
    return spread


def _phases(weight: Tensor, stride: Axes) -> Tensor:
    """The kernel of stride 1 that does the same to the map's phases as channels.

    A stride of s reads position s*i + t: of the phase t mod s the position i + t // s.
    """
    rows, columns = stride
    height, width = weight.shape[-2:]
    whole = functional.pad(weight, (0, -width % columns, 0, -height % rows))
    split = whole.unflatten(-1, (-1, columns)).unflatten(-3, (-1, rows))
    return split.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)
