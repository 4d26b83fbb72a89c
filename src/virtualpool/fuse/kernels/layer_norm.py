"""Layer norm over channels, taken apart where a linear layer reads it, so that this keeps means.

Layer norm subtracts the mean of a position's channels, divides by their deviation and multiplies by
a weight for each channel. Of these only the division does not keep means; and as it is by one
number for each position, it may as well come after the linear layer:

    W (g (x - mean) / deviation + b) + c  =  (W g) (x - mean) / deviation + (W b + c)

So the matrix is multiplied by the cells of an interpolated map, by a quarter of its positions.
"""

import torch
from torch import Tensor

from virtualpool.fuse.kernels.recording import may_write_in_place
from virtualpool.operator.autocast import without_autocast


def scaled_columns(matrix: Tensor, scale: Tensor) -> Tensor:
    """A matrix (out, C) for channels that are to be multiplied by (C,)."""
    return (matrix * scale).to(matrix.dtype)


def bias_of_shifted(bias: Tensor | None, shift: Tensor, matrix: Tensor) -> Tensor:
    """The bias (out,) of a linear layer to whose channels (C,) is to be added."""
    with without_autocast(matrix):
        shifted = matrix @ shift.to(matrix.dtype)
    return shifted if bias is None else bias + shifted


def centred(x: Tensor) -> Tensor:
    """A map whose channels, the last axis, have the mean zero at each position.

    >>> centred(torch.tensor([1.0, 2.0, 6.0]))
    tensor([-2., -1.,  3.])
    """
    return x - x.mean(-1, keepdim=True)


def divided(product: Tensor, centre: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    """A linear function of centred channels, divided by their deviation as in layer norm.

    Args:
        product: of the centred channels, (..., out); it is overwritten where nobody sees it.
        centre: the centred channels, (..., C).
        bias: (out,), added then; or none.
        eps: added to the variance.

    >>> divided(torch.tensor([[8.0]]), torch.tensor([[-2.0, 2.0]]), torch.tensor([0.5]), 0.0)
    tensor([[4.5000]])
    """
    wide = centre.float() if centre.dtype.itemsize < 4 else centre
    scale = (wide.square().mean(-1, keepdim=True) + eps).rsqrt().to(product.dtype)
    if bias is not None:
        bias = bias.to(product.dtype)
    if may_write_in_place(product):
        product = product.mul_(scale)
        return product if bias is None else product.add_(bias)
    return product * scale if bias is None else torch.addcmul(bias, product, scale)
