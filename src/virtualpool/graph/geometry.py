"""The stride of a convolution, doubled, and the size that it had before."""

import copy

import torch
from torch import Tensor, nn

from virtualpool.graph.operations import runs_forward_of
from virtualpool.operator.pool import Axes, output_size


def size_arguments(convolution: nn.Conv2d, factor: Axes = (1, 1)) -> tuple[Axes, Axes, Axes, Axes]:
    """The kernel, stride, sum of paddings and dilation that `output_size` takes.

    Args:
        convolution: a two-dimensional convolution.
        factor: by how much its stride was multiplied; the stride before that is returned.

    >>> size_arguments(nn.Conv2d(3, 8, 3, stride=4, padding=1), factor=(2, 2))
    ((3, 3), (2, 2), (2, 2), (1, 1))
    """
    rows, columns = convolution.stride
    stride = (rows // factor[0], columns // factor[1])
    return (
        _pair(convolution.kernel_size),
        stride,
        _padding(convolution),
        _pair(convolution.dilation),
    )


def double_stride(convolution: nn.Conv2d) -> None:
    """Doubles a convolution's stride in place; its taps stay where they were."""
    rows, columns = convolution.stride
    convolution.stride = (2 * rows, 2 * columns)
    if convolution.padding == "same" and convolution.padding_mode == "zeros":
        _make_padding_explicit(convolution)


def keeps_samples(convolution: nn.Conv2d, x: Tensor, out: Tensor) -> bool:
    """Whether `convolution`, with doubled stride, gives the even positions of `out`.

    It does unless it has a forward of its own, such as one that pads by its stride.

    Args:
        convolution: what gave `out`.
        x: its input, shape (N, C, H, W).
        out: its output on `x`.
    """
    if runs_forward_of(convolution, nn.Conv2d):
        return True
    doubled = copy.copy(convolution)
    double_stride(doubled)
    # Not called as a module: hooks, that of the caller among them, are not meant for it.
    reduced = doubled.forward(x)
    expected = out[..., ::2, ::2]
    return (
        tuple(out.shape[-2:]) == output_size(x, *size_arguments(convolution))
        and reduced.shape == expected.shape
        and _is_near(reduced, expected)
    )


def _is_near(one: Tensor, other: Tensor) -> bool:
    # Another stride may sum in another order: in bfloat16 or over many channels it shows.
    difference, scale = ((one - other).abs().float(), other.abs().float())
    tolerance = max(1e-3, 8 * torch.finfo(other.dtype).eps)
    return other.numel() == 0 or bool(difference.max() <= tolerance * scale.max())


def _padding(convolution: nn.Conv2d) -> Axes:
    if isinstance(convolution.padding, str) or convolution.padding_mode != "zeros":
        left, right, top, bottom = convolution._reversed_padding_repeated_twice
        return top + bottom, left + right
    rows, columns = convolution.padding
    return 2 * rows, 2 * columns


def _make_padding_explicit(convolution: nn.Conv2d) -> None:
    # PyTorch refuses padding="same" with a stride over 1, though what it would do is clear.
    left, right, top, bottom = convolution._reversed_padding_repeated_twice
    if (left, top) == (right, bottom):
        convolution.padding = (top, left)
    else:
        # An even kernel pads unequally, which nn.Conv2d does for every mode but "zeros".
        convolution.padding_mode = "constant"  # pyright: ignore[reportAttributeAccessIssue]


def _pair(values: tuple[int, ...]) -> Axes:
    rows, columns = values
    return rows, columns
