"""A network that computes in float16, for inputs and outputs in float32."""

from typing import Any

import torch
from torch import Tensor, nn

from virtualpool.graph.inputs import map_tensors
from virtualpool.graph.state import copy_of


class Half(nn.Module):
    """A copy of a network in float16; inputs and outputs stay in float32.

    >>> Half(nn.Linear(2, 3))(torch.zeros(1, 2)).dtype
    torch.float32
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = copy_of(model).half()

    def forward(self, *arguments: Any, **keywords: Any) -> Any:
        """See the network's own."""
        halves = map_tensors(_to(torch.float16), (arguments, keywords))
        return map_tensors(_to(torch.float32), self.model(*halves[0], **halves[1]))


def _to(dtype: torch.dtype) -> Any:
    def converted(x: Tensor) -> Tensor:
        return x.to(dtype) if x.is_floating_point() else x

    return converted
