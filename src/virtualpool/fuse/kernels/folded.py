"""A convolution in training, whose folded kernel is made again for the backward pass.

Autograd would keep it till then: as much memory as the weights take, whatever the batch.
"""

from typing import Any

import torch
from torch import Tensor

from virtualpool.fuse.kernels.folding import fold
from virtualpool.operator.autocast import in_autocast_dtype, without_autocast
from virtualpool.operator.pool import Axes


def folded_convolution(
    frame: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Axes,
    padding: Axes,
    dilation: Axes,
    groups: int,
    zeros: Axes = (0, 0),
) -> Tensor:
    """A convolution of an interpolated map, given as its framed reduced map.

    Args:
        frame: the reduced map with the cells around it that the folded kernel reads (see
            `reduced.framed`), but for `zeros`.
        weight: the kernel for the full map.
        bias: (out,), or none.
        stride: on the reduced map: half of that on the full one.
        padding: zero padding on each side of the full map.
        dilation: distance of two taps on the full map.
        groups: as for `torch.conv2d`.
        zeros: how many rows and columns of zeros there are on each side besides.

    >>> frame = torch.tensor([[[[-1.0, 1.0, 3.0, 3.0]]]])
    >>> weight = torch.tensor([[[[4.0, 10.0, 6.0]]]])
    >>> folded_convolution(frame, weight, None, (1, 1), (0, 1), (1, 1), 1)
    tensor([[[[22., 56.]]]])
    """
    frame = in_autocast_dtype(frame)
    given = frame, weight, bias, stride, padding, dilation, groups, zeros
    with without_autocast(frame):
        if torch.compiler.is_compiling():
            return _Convolution.forward(*given)
        return _Convolution.apply(*given)  # pyright: ignore[reportReturnType]


def _folded(weight: Tensor, padding: Axes, dilation: Axes, dtype: torch.dtype) -> Tensor:
    return fold(weight, padding, dilation).to(dtype)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        frame: Tensor,
        weight: Tensor,
        bias: Any,
        stride: Axes,
        padding: Axes,
        dilation: Axes,
        groups: int,
        zeros: Axes,
    ) -> Tensor:
        folded = _folded(weight, padding, dilation, frame.dtype)
        bias = None if bias is None else bias.to(frame.dtype)
        return torch.conv2d(frame, folded, bias, stride, zeros, 1, groups)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        frame, weight, bias, *ctx.geometry = inputs
        ctx.bias = None if bias is None else (bias.shape, bias.dtype)
        ctx.save_for_backward(frame, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        frame, weight = ctx.saved_tensors
        stride, padding, dilation, groups, zeros = ctx.geometry
        with torch.enable_grad():
            folded = _folded(weight, padding, dilation, frame.dtype)
        of_frame, of_folded, of_bias = torch.ops.aten.convolution_backward(
            gradient, frame, folded, ctx.bias and ctx.bias[0], stride, zeros, (1, 1), False,
            (0, 0), groups, ctx.needs_input_grad[:3],
        )  # fmt: skip
        of_weight = None
        if of_folded is not None:
            twice = torch.is_grad_enabled()
            (of_weight,) = torch.autograd.grad(folded, weight, of_folded, create_graph=twice)
        if of_bias is not None:
            of_bias = of_bias.to(ctx.bias[1])
        return of_frame, of_weight, of_bias, None, None, None, None, None
