"""The operator once more: slowly, in float64, and apart from the library.

Equations 3 to 5 of the paper as the design pins them down, in plain loops.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def recovered(reduced: Tensor, size: tuple[int, int]) -> Tensor:
    """Equation 4: at each position the mean of the samples (equation 3) at most one step away."""
    height, width = size
    rows = []
    for row in range(height):
        columns = []
        for column in range(width):
            near = [
                reduced[:, :, y // 2, x // 2].double()
                for y in (row - 1, row, row + 1)
                for x in (column - 1, column, column + 1)
                if 0 <= y < height and 0 <= x < width and y % 2 == 0 and x % 2 == 0
            ]
            columns.append(torch.stack(near).mean(0))
        rows.append(torch.stack(columns, dim=-1))
    return torch.stack(rows, dim=-2)


def pooled(full: Tensor, pointwise: Callable[[Tensor], Tensor] = torch.clone) -> Tensor:
    """A pooled site's map: of its full output, only the even positions are computed.

    Args:
        full: the output of the unmodified convolution, shape (N, C, H, W).
        pointwise: the operations between the convolution and the virtual pool.
    """
    return recovered(pointwise(full[:, :, ::2, ::2]), (full.shape[2], full.shape[3]))


def operations(program: torch.export.ExportedProgram) -> set[str]:
    """The names of an exported program's operations."""
    calls = (node for node in program.graph.nodes if node.op == "call_function")
    return {call.target.__name__.partition(".")[0] for call in calls}
