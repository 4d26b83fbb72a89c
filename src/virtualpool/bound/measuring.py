"""The change by a virtual pool in real images: up to the next weights, and at the output."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from virtualpool.bound.recording import pooled_values
from virtualpool.bound.rule import Operation
from virtualpool.graph.inputs import tensors

DISTANCE = math.sqrt(2)
"""The most that an interpolated position is away from the ones that its value is the mean of."""


@dataclass(frozen=True)
class Measured:
    """The change by one pooled site in one image.

    Attributes:
        gradient: see `gradient`; of the site's map.
        changes: norm of the error of each value that was asked for.
        norms: norm of each of these values without the error.
        error: norm of the error of the output.
        output: norm of the output.
    """

    gradient: float
    changes: dict[fx.Node, float]
    norms: dict[fx.Node, float]
    error: float
    output: float


def measure(
    operations: Mapping[fx.Node, Operation],
    image: Tensor,
    site: fx.Node,
    wanted: Sequence[fx.Node],
) -> Measured:
    """Runs a graph with a virtual pool after one node, and compares.

    Args:
        operations: of the graph, as it ran on the image without a virtual pool.
        image: (1, C, H, W).
        site: the node whose value the virtual pool recovers.
        wanted: the nodes of which to know the error, beside the output.
    """
    output = output_of(operations)
    pooled = pooled_values(site.graph, operations[site].owner, image, site, [*wanted, output.node])
    values = {node: operations[node].result for node in wanted}
    return Measured(
        gradient(operations[site].result),
        {node: _norm(_differences(value, pooled[node])) for node, value in values.items()},
        {node: _norm(tensors(value)) for node, value in values.items()},
        _norm(_differences(output.result, pooled[output.node])),
        _norm(tensors(output.result)),
    )


def gradient(x: Tensor) -> float:
    """The largest difference of two neighbours in a map (..., H, W), per unit of their distance.

    Of the Lipschitz condition of the paper's Proposition 1 this is all that its proof uses: pairs
    of positions that are a row, a column or both apart.

    >>> gradient(torch.tensor([[0.0, 1.0], [2.0, 2.0]]))
    2.0
    """
    down, right = x[..., 1:, :], x[..., :, 1:]
    pairs = [
        (down - x[..., :-1, :], 1.0),
        (right - x[..., :, :-1], 1.0),
        (x[..., 1:, 1:] - x[..., :-1, :-1], DISTANCE),
        (x[..., 1:, :-1] - x[..., :-1, 1:], DISTANCE),
    ]
    return max(difference.abs().max().item() / distance for difference, distance in pairs)


def output_of(operations: Mapping[fx.Node, Operation]) -> Operation:
    """The operation that gives a graph's output."""
    return next(operation for node, operation in operations.items() if node.op == "output")


def _differences(value: Any, other: Any) -> list[Tensor]:
    return [
        one.double() - another.double()
        for one, another in zip(tensors(value), tensors(other), strict=True)
    ]


def _norm(values: Sequence[Tensor]) -> float:
    return math.hypot(*[torch.linalg.vector_norm(value.double()).item() for value in values])
