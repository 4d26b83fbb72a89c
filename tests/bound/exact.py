"""Norms of operations on small maps, from their whole matrix."""

from collections.abc import Callable

import torch
from torch import Tensor, fx, nn

from virtualpool.bound.recording import record
from virtualpool.bound.rule import Operation, knows


def matrix(function: Callable[[Tensor], Tensor], example: Tensor) -> Tensor:
    """The (outputs, inputs) matrix of a function's linear part, in float64."""
    constant = function(torch.zeros_like(example, dtype=torch.float64))
    units = torch.eye(example.numel(), dtype=torch.float64).view(-1, *example.shape)
    return torch.stack([(function(unit) - constant).flatten() for unit in units], dim=1).detach()


def norms(function: Callable[[Tensor], Tensor], example: Tensor) -> tuple[float, float]:
    """By how much a linear function can multiply the largest value, and the norm."""
    whole = matrix(function, example)
    return whole.abs().sum(1).max().item(), torch.linalg.svdvals(whole)[0].item()


class _Tracer(fx.Tracer):
    """Leaves modules with a rule whole, as the library's own does."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return knows(m) or super().is_leaf_module(m, module_qualified_name)


def operations_of(*steps: Callable[[Tensor], Tensor], example: Tensor) -> list[Operation]:
    """The operations that functions and modules are in a graph, one after the other."""

    class Steps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = nn.ModuleList(step for step in steps if isinstance(step, nn.Module))

        def forward(self, x: Tensor) -> Tensor:
            for step in steps:
                x = step(x)
            return x

    module = Steps().eval()
    operations = record(_Tracer().trace(module), module, example)
    return [it for node, it in operations.items() if node.op.startswith("call")]
