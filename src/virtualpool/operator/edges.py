"""Rows and columns beside a map, joined to it: the form in which programs are exported.

XNNPACK, which phones run, has slices, negations and concatenations. A padding that copies it has
not: ExecuTorch makes of that a gather along rows and one along columns, outside of XNNPACK, and
each time the map leaves its layout and goes back to it. ONNX has such a padding.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def joined(x: Tensor, before: Sequence[int], after: Sequence[int]) -> Tensor:
    """A map with its outer rows and columns beside it once more, as they are or negated.

    Args:
        x: (N, C, H, W).
        before: along rows and columns, the factor of the first: 1, -1, or 0 for none.
        after: the factor of the last, alike.

    >>> joined(torch.tensor([[[[1.0, 2.0]]]]), (0, -1), (1, 0))
    tensor([[[[-1.,  1.,  2.],
              [-1.,  1.,  2.]]]])
    """
    for axis, first, last in zip((-2, -1), before, after, strict=True):
        parts = [x]
        if first:
            parts.insert(0, _signed(x.narrow(axis, 0, 1), first))
        if last:
            parts.append(_signed(x.narrow(axis, x.shape[axis] - 1, 1), last))
        x = torch.cat(parts, axis) if len(parts) > 1 else x
    return x


def _signed(edge: Tensor, sign: int) -> Tensor:
    return -edge if sign < 0 else edge
