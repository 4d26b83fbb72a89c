"""The stride of a convolution, doubled, and the size that it had before."""

import copy
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from virtualpool.graph.operations import runs_forward_of
from virtualpool.operator.pool import Axes, output_size
from virtualpool.torch_private import runs_convolution_of, set_sides_of_padding, sides_of_padding


def size_arguments(
    convolution: nn.Conv2d, *, is_pooled: bool = False
) -> tuple[Axes, Axes, Axes, Axes]:
    """The kernel, stride, sum of paddings and dilation that `output_size` takes.

    Args:
        convolution: a two-dimensional convolution.
        is_pooled: whether its stride was doubled; the stride before that is returned.

    >>> size_arguments(nn.Conv2d(3, 8, 3, stride=4, padding=1), is_pooled=True)
    ((3, 3), (2, 2), (2, 2), (1, 1))
    """
    # The computation goes by the shape of the weight; `kernel_size` may be another by now.
    kernel = convolution.weight.shape[2], convolution.weight.shape[3]
    rows, columns = _pair(convolution.stride)
    stride = (rows // 2, columns // 2) if is_pooled else (rows, columns)
    left, right, top, bottom = padding_sides(convolution)
    return kernel, stride, (top + bottom, left + right), _pair(convolution.dilation)


def padding_sides(convolution: nn.Conv2d) -> tuple[int, int, int, int]:
    """The padding of a convolution at the left, at the right, above and below a map.

    >>> padding_sides(nn.Conv2d(3, 8, (4, 3), padding="same"))
    (1, 1, 1, 2)
    """
    if convolution.padding_mode != "zeros":
        # PyTorch works these out when it is built, and asks for `padding` no more.
        left, right, top, bottom = sides_of_padding(convolution)
        return left, right, top, bottom
    if convolution.padding == "valid":
        return 0, 0, 0, 0
    if convolution.padding != "same":
        rows, columns = _pair(convolution.padding)
        return columns, columns, rows, rows
    reaches = zip(_pair(convolution.dilation), convolution.weight.shape[2:], strict=True)
    rows, columns = (dilation * (taps - 1) for dilation, taps in reaches)
    return columns // 2, columns - columns // 2, rows // 2, rows - rows // 2


def runs_as_conv2d(module: nn.Module) -> bool:
    """Whether a module computes the same as `nn.Conv2d`, and nothing of its own.

    >>> runs_as_conv2d(nn.Conv2d(3, 8, 1)), runs_as_conv2d(nn.Conv1d(3, 8, 1))
    (True, False)
    """
    return (
        isinstance(module, nn.Conv2d)
        and runs_forward_of(module, nn.Conv2d)
        and runs_convolution_of(module, nn.Conv2d)
    )


def per_axis(value: Any, count: int) -> tuple[int, ...] | None:
    """A geometry as PyTorch takes it, one number or one for each axis; none for anything else.

    >>> per_axis(3, 2), per_axis([3], 2), per_axis([3, 1], 2), per_axis("same", 2)
    ((3, 3), (3, 3), (3, 1), None)
    """
    given = [value] if isinstance(value, Integral) else value
    if not isinstance(given, tuple | list) or not all(isinstance(it, Integral) for it in given):
        return None
    numbers = tuple(map(int, given))
    return numbers * count if len(numbers) == 1 else numbers if len(numbers) == count else None


def pair(value: Any) -> Axes | None:
    """A geometry as PyTorch's functions take it, one number or two; none for anything else.

    >>> pair(3), pair([3, 1]), pair("same")
    ((3, 3), (3, 1), None)
    """
    return per_axis(value, 2)  # pyright: ignore[reportReturnType]


def double_stride(convolution: nn.Conv2d) -> None:
    """Doubles a convolution's stride in place; its taps stay where they were."""
    rows, columns = _pair(convolution.stride)
    convolution.stride = (2 * rows, 2 * columns)
    if convolution.padding == "same" and convolution.padding_mode == "zeros":
        _make_padding_explicit(convolution)


def keeps_samples(convolution: nn.Conv2d, x: Tensor, out: Tensor) -> bool:
    """Whether `convolution`, with doubled stride, gives the even positions of `out`.

    It does unless it has a forward of its own, such as one that pads by its stride.

    Args:
        convolution: the convolution that gave `out`.
        x: its input, shape (N, C, H, W).
        out: its output on `x`.
    """
    if runs_as_conv2d(convolution):
        return True
    doubled = copy.copy(convolution)
    double_stride(doubled)
    # Not called as a module: hooks, the caller's among them, are not meant for it.
    reduced = doubled.forward(x)
    expected = out[..., ::2, ::2]
    return (
        tuple(out.shape[-2:]) == output_size(x, *size_arguments(convolution))
        and reduced.shape == expected.shape
        and is_near(reduced, expected)
    )


def is_near(one: Tensor, other: Tensor) -> bool:
    """Whether two maps are the same but for the order in which they were summed."""
    # Another stride may sum in another order: in bfloat16 or over many channels it shows.
    difference, scale = ((one - other).abs().float(), other.abs().float())
    tolerance = max(1e-3, 8 * torch.finfo(other.dtype).eps)
    return other.numel() == 0 or bool(difference.max() <= tolerance * scale.max())


def _make_padding_explicit(convolution: nn.Conv2d) -> None:
    # PyTorch refuses padding="same" with a stride over 1, though its meaning is clear.
    sides = left, right, top, bottom = padding_sides(convolution)
    if (left, top) == (right, bottom):
        convolution.padding = (top, left)
    else:
        # An even kernel pads unequally, which nn.Conv2d does for every mode but "zeros".
        convolution.padding_mode = "constant"  # pyright: ignore[reportAttributeAccessIssue]
        set_sides_of_padding(convolution, sides)


def _pair(value: Any) -> Axes:
    found = pair(value)
    assert found is not None  # PyTorch would not have run the convolution
    return found
