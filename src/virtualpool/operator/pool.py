"""The operator: a reduced map brought back to its full size by linear interpolation."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.onnx import ops
from torch.overrides import handle_torch_function, has_torch_function_unary

from virtualpool.errors import VirtualPoolError
from virtualpool.operator.autocast import without_autocast
from virtualpool.operator.edges import joined
from virtualpool.operator.exporting import (
    is_exporting_for_onnx_runtime,
    is_exporting_onnx,
    is_exporting_open,
    is_exporting_program,
)
from virtualpool.operator.layout import layout

Axes = tuple[int, int]
"""A number for rows and one for columns."""


def virtual_pool(reduced: Tensor, size: tuple[int, int]) -> Tensor:
    """Recovers a map of `size` from the samples at its even positions (paper, equations 3 to 5).

    Per axis `out[2i] = x[i]` and `out[2i+1] = (x[i] + x[i+1]) / 2`. Where a neighbour is missing,
    at the last row of an even H or the last column of an even W, the mean is over the
    others. The computed samples keep their value and their position.

    Args:
        reduced: map of shape (N, C, h, w), of any floating-point dtype; N may be 0.
        size: (H, W), the size to recover: H is 2h or 2h-1, W is 2w or 2w-1.

    Returns:
        A map of shape (N, C, H, W) in the dtype, device and memory format of `reduced`.

    Raises:
        VirtualPoolError: `reduced` is not a floating-point map, or cannot come from `size`.

    >>> virtual_pool(torch.tensor([[[[0.0, 2.0], [4.0, 6.0]]]]), (3, 4))
    tensor([[[[0., 1., 2., 2.],
              [2., 3., 4., 4.],
              [4., 5., 6., 6.]]]])
    """
    if has_torch_function_unary(reduced):
        # A tracer's stand-in (or a tensor subclass) sees one operation, not the code below.
        return handle_torch_function(virtual_pool, (reduced,), reduced, size)
    _check(reduced, size)
    height, width = 2 * reduced.shape[-2] - 1, 2 * reduced.shape[-1] - 1
    bottom, right = size[0] - height, size[1] - width
    # Autocast would make a float32 map of a bfloat16 one here, four times its size, for nothing.
    with without_autocast(reduced):
        if is_exporting_onnx() and not torch.compiler.is_dynamo_compiling():
            return _with_twice_the_size(reduced, size)
        if reduced.is_cuda and not torch.compiler.is_compiling():
            return _with_channels_last(reduced, size)
        if is_exporting_open(size):
            return _of_either_parity(reduced, size)
        # With aligned corners and this size every even output lies on a sample and every odd one
        # half-way between two: bilinear resizing is then the operator, in the form that runtimes
        # run fastest. Only the last row or column of an even size is missing, and repeats.
        full = functional.interpolate(
            reduced, size=(height, width), mode="bilinear", align_corners=True
        )
        if bottom or right:
            full = repeated(full, (0, 0), (bottom, right))
    return full


def _of_either_parity(reduced: Tensor, size: tuple[int, int]) -> Tensor:
    """The same without asking whether lengths are even, for programs in which they are open."""
    longer = repeated(reduced, (0, 0), (1, 1))
    height, width = 2 * reduced.shape[-2] + 1, 2 * reduced.shape[-1] + 1
    full = functional.interpolate(longer, size=(height, width), mode="bilinear", align_corners=True)
    return full[..., : size[0], : size[1]]


def _with_channels_last(reduced: Tensor, size: tuple[int, int]) -> Tensor:
    """The same on a GPU, where it is slow to resize, and to pad, a map with any other layout.

    PyTorch's kernel takes a thread a position there, which goes through all images and channels.
    Padding makes maps contiguous.
    """
    its_layout = layout(reduced)
    # An even length repeats its last cell, so it is cut out of the next odd one.
    cells = size[0] // 2 + 1, size[1] // 2 + 1
    bottom, right = cells[0] - reduced.shape[-2], cells[1] - reduced.shape[-1]
    if bottom or right:
        reduced = repeated(reduced, (0, 0), (bottom, right))
    full = functional.interpolate(
        reduced.contiguous(memory_format=torch.channels_last),
        size=(2 * cells[0] - 1, 2 * cells[1] - 1),
        mode="bilinear",
        align_corners=True,
    )
    return full[..., : size[0], : size[1]].contiguous(memory_format=its_layout)


def _with_twice_the_size(reduced: Tensor, size: tuple[int, int]) -> Tensor:
    """The same as ONNX writes it, whose resizing can do more than PyTorch's.

    Without an offset each cell comes to an even position and the last one is repeated. ONNX Runtime
    does this, for whole factors, in the layout of its convolutions: unfused, ResNet-50 takes
    little more than half of the time that it takes with aligned corners and a padding.
    """
    height, width = 2 * reduced.shape[-2], 2 * reduced.shape[-1]
    factors = torch.tensor([1.0, 1.0, 2.0, 2.0])
    full = ops.symbolic(
        "Resize",
        (reduced, None, factors),
        {"mode": "linear", "coordinate_transformation_mode": "asymmetric"},
        dtype=reduced.dtype,
        shape=(*reduced.shape[:2], height, width),
    )
    # Of lengths that are open until the file is run it cannot be asked here whether they are even.
    is_known = all(isinstance(length, int) for length in (*size, height, width))
    if is_known and size == (height, width):
        return full
    if is_known and is_exporting_for_onnx_runtime(reduced):
        return _cut(full, size)
    if not is_known:
        _check_open(reduced)
    return full[..., : size[0], : size[1]]


def _check_open(reduced: Tensor) -> None:
    """Refuses maps by which PyTorch would fix a size that is to be open, as it does where it is 1.

    A file has no guards: it would take other sizes, and give other numbers.
    """
    if 1 in reduced.shape[-2:]:
        raise VirtualPoolError(
            "A reduced map has one row or column with these example images, which is then fixed, "
            "while rows and columns are to be open. Export with larger images, of twice the side."
        )


def _cut(x: Tensor, size: tuple[int, int]) -> Tensor:
    """The first rows and columns of a map, by a convolution: ONNX Runtime's have no slices."""
    channels, rows, columns = x.shape[1:]
    first = x.new_tensor([[1.0, 0.0], [0.0, 0.0]])[: 1 + rows - size[0], : 1 + columns - size[1]]
    return torch.conv2d(x, first.expand(channels, 1, *first.shape), groups=channels)


def cells(x: Tensor) -> Tensor:
    """The values of a map (N, C, H, W) at its even positions: the reduced map of a recovered one.

    >>> cells(virtual_pool(torch.tensor([[[[0.0, 2.0]]]]), (1, 4)))
    tensor([[[[0., 2.]]]])
    """
    if has_torch_function_unary(x):
        return handle_torch_function(cells, (x,), x)
    # A copy, and no view: an activation in place would write to the map in full, and exported
    # programs scatter each write to a view back into its map.
    return x[..., ::2, ::2].clone(memory_format=layout(x))


class VirtualPool(nn.Module):
    """`virtual_pool` as a module without parameters.

    >>> VirtualPool()(torch.zeros(1, 3, 7, 7), (14, 13)).shape
    torch.Size([1, 3, 14, 13])
    """

    def forward(self, reduced: Tensor, size: tuple[int, int]) -> Tensor:
        """See `virtual_pool`."""
        return virtual_pool(reduced, size)


def repeated(x: Tensor, before: Axes, after: Axes) -> Tensor:
    """A map with copies of its first and last rows and columns beside them, 0 or 1 on each side.

    >>> repeated(torch.tensor([[[[1.0, 2.0]]]]), (0, 1), (1, 0))
    tensor([[[[1., 1., 2.],
              [1., 1., 2.]]]])
    """
    if is_exporting_program():
        return joined(x, before, after)
    # Autocast makes this operation one of float32.
    with without_autocast(x):
        return functional.pad(x, (before[1], after[1], before[0], after[0]), mode="replicate")


def output_size(x: Tensor, kernel: Axes, stride: Axes, padding: Axes, dilation: Axes) -> Axes:
    """The size (H, W) that a convolution makes of `x`, from the shape at the time of the call.

    Args:
        x: shape (..., H, W).
        kernel: kernel size per axis.
        stride: stride per axis.
        padding: the sum of the padding on both sides, per axis.
        dilation: dilation per axis.

    >>> output_size(torch.zeros(1, 3, 224, 225), (3, 3), (2, 2), (2, 2), (1, 1))
    (112, 113)
    """
    if has_torch_function_unary(x):
        return handle_torch_function(output_size, (x,), x, kernel, stride, padding, dilation)
    return window_size((x.shape[-2], x.shape[-1]), kernel, stride, padding, dilation)


def window_size(
    size: Axes, kernel: Axes, stride: Axes, padding: Axes, dilation: Axes = (1, 1)
) -> Axes:
    """The size that a convolution or a pooling makes of a map of `size`; see `output_size`.

    >>> window_size((224, 225), (3, 3), (2, 2), (2, 2))
    (112, 113)
    """
    height, width = (
        (length + pad - spread * (taps - 1) - 1) // step + 1
        for length, taps, step, pad, spread in zip(
            size, kernel, stride, padding, dilation, strict=True
        )
    )
    return height, width


def _check(reduced: Tensor, size: tuple[int, int]) -> None:
    shape = tuple(reduced.shape)
    if len(shape) != 4 or not reduced.is_floating_point():
        raise VirtualPoolError(
            f"virtual_pool: a floating-point map of shape (N, C, h, w) is expected, not {shape} of "
            f"{reduced.dtype}; unsqueeze a batch axis or convert it first."
        )
    height, width = shape[2:]
    if not (
        isinstance(size, Sequence)
        and len(size) == 2
        and 1 <= 2 * height - 1 <= size[0] <= 2 * height
        and 1 <= 2 * width - 1 <= size[1] <= 2 * width
    ):
        raise VirtualPoolError(
            f"virtual_pool: a reduced map of shape {shape} cannot be recovered to size {size}; "
            f"H must be {2 * height - 1} or {2 * height}, and W {2 * width - 1} or {2 * width}."
        )
