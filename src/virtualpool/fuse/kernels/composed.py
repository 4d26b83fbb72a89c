"""A transposed 2x2 convolution and a convolution with an even stride behind it, as one of both.

With nothing between them, they are a convolution of the map before. Along one axis the transposed
one gives `y[i] v[0]` at `2i` and `y[i] v[1]` at `2i + 1`, so of a kernel behind it

    (a, b, c) at -1, 0, 1   becomes   (a v[1], b v[0] + c v[1]) at -1, 0
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from virtualpool.fuse.kernels.reduced import mended
from virtualpool.fuse.kernels.strips import Strip
from virtualpool.operator.pool import Axes, virtual_pool, window_size


def fold_transposed(kernel: Tensor, transposed: Tensor, padding: Axes) -> Tensor:
    """The kernel of both, for the map before.

    Args:
        kernel: (out, between, rows, columns), with a dilation of one.
        transposed: (in, between, 2, 2).
        padding: zero padding of the kernel on each side, 0 or 1.

    >>> taps = torch.tensor([4.0, 8.0, 12.0]).view(1, 1, 1, 3), torch.ones(1, 1, 2, 2)
    >>> fold_transposed(*taps, (0, 1))
    tensor([[[[ 4., 20.]]]])
    """
    rows, columns = (
        (before, (taps + before) % 2)
        for taps, before in zip(kernel.shape[2:], padding, strict=True)
    )
    whole = functional.pad(kernel, (*columns, *rows))
    pairs = whole.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))
    return torch.einsum("omrasb,imab->oirs", pairs, transposed)


def bias_at_taps(kernel: Tensor, bias: Tensor) -> Tensor:
    """What a bias before a kernel adds through each of its taps, (out, rows, columns).

    Args:
        kernel: (out, between, rows, columns).
        bias: (between,).
    """
    return torch.einsum("omrs,m->ors", kernel, bias)


def whole_bias(of_taps: Tensor, bias: Tensor | None) -> Tensor:
    """The bias (out,) of both, where every tap reads a position of the map."""
    whole = of_taps.sum((1, 2))
    return whole if bias is None else whole + bias


def convolution_of_transposed(
    x: Tensor,
    size: Axes,
    folded: Tensor,
    biases: tuple[Tensor | None, Tensor | None],
    kernel: Axes,
    stride: Axes,
    padding: Axes,
    *,
    is_reduced: bool,
) -> Tensor:
    """A convolution of the result of a transposed one with 2x2 taps, of the map before.

    Args:
        x: the map before (N, C, H, W), or its reduced map.
        size: (H, W) of the map before.
        folded: the result of `fold_transposed`.
        biases: `whole_bias` and `bias_at_taps`; the second is none where the transposed
            convolution has no bias.
        kernel: rows and columns of the kernel.
        stride: of the kernel; even.
        padding: of the kernel, 0 or 1; no position after the last row or column may be read.
        is_reduced: whether `x` is a reduced map.
    """
    full = virtual_pool(x, size) if is_reduced else x
    target, padded = (2 * size[0], 2 * size[1]), (2 * padding[0], 2 * padding[1])
    rows, columns = window_size(target, kernel, stride, padded)
    bias, of_taps = biases
    # Zeros stand before the map; those after it make a row and a column too many.
    result = torch.conv2d(full, folded, bias, (stride[0] // 2, stride[1] // 2), padding)
    result = result[..., :rows, :columns] if any(padding) else result
    if of_taps is None:
        return result
    # Under autocast a bias has another dtype than the result.
    return mended(result, _beyond(of_taps.to(result.dtype), padding, (rows, columns)))


def _beyond(of_taps: Tensor, padding: Axes, outputs: Axes) -> Iterator[Strip]:
    """What a bias adds too much, by taps that read the zeros before the map."""
    above, left = padding
    if above:
        row = of_taps[:, 0].sum(-1).view(1, -1, 1, 1)
        yield -2, 0, -row.expand(-1, -1, 1, outputs[1])
    if left:
        below = of_taps[:, :, 0].sum(-1).view(1, -1, 1, 1).expand(-1, -1, outputs[0] - above, 1)
        first = of_taps[:, 1:, 0].sum(-1).view(1, -1, 1, 1).expand(-1, -1, above, 1)
        yield -1, 0, -torch.cat([first, below], 2)
