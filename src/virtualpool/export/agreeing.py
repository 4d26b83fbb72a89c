"""How often a file in int8 decides as the model does: its outputs are not the same."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.export.arrays import outputs_of
from virtualpool.export.format import Ready
from virtualpool.graph.inputs import batch_size, images_in, map_tensors
from virtualpool.measure.agreement import Agreement, agreement

LEAST_COSINE = 0.9
"""The cosine below which outputs are another network's, not this one's in int8."""


def held_out(batches: Iterable[Any], size: int | None) -> tuple[list[Any], list[Any]]:
    """Inputs to calibrate int8 with, and a quarter of them to compare on.

    Args:
        batches: inputs, or (inputs, labels) pairs whose labels are not used.
        size: the images in a call, where the file takes no other number of them.

    Raises:
        VirtualPoolError: there are fewer than two calls.

    >>> import torch
    >>> solving, judging = held_out([torch.zeros(8, 3), torch.zeros(2, 3)], 2)
    >>> [len(x) for x in solving], [len(x) for x in judging]
    ([2, 2, 2, 2], [2])
    """
    inputs = [*map(images_in, batches)]
    calls = inputs if size is None else [each for it in inputs for each in _split(it, size)]
    if len(calls) < 2:
        raise VirtualPoolError(
            f"int8 is calibrated with inputs and compared on others, and there is {len(calls)} "
            "call's worth of them. Give calibration=[batch, ...], a hundred images or more."
        )
    count = len(calls) - max(1, len(calls) // 4)
    return calls[:count], calls[count:]


def agreed(ready: Ready, model: nn.Module, batches: Iterable[Any]) -> Agreement:
    """How far a file in its runtime agrees with a model.

    Raises:
        VirtualPoolError: it gives something else altogether.
    """
    found = agreement(_InRuntime(ready), model, [(inputs,) for inputs in batches])
    if not found.cosine >= LEAST_COSINE:
        raise VirtualPoolError(
            f"In int8 the outputs have a cosine of {found.cosine:.3f} with the model's, where "
            f"{LEAST_COSINE} is the least. Nothing was written; calibrate with more images, "
            "prepared as in training, or export in float32."
        )
    return found


def _split(inputs: Any, size: int) -> list[Any]:
    """Inputs in calls of so many images; a rest that is smaller is left out."""
    starts = range(0, batch_size(inputs) - size + 1, size)
    return [map_tensors(lambda x, at=at: x[at : at + size], inputs) for at in starts]


class _InRuntime(nn.Module):
    def __init__(self, ready: Ready) -> None:
        super().__init__()
        self._ready = ready

    def forward(self, *arguments: Any, **keywords: Any) -> list[Tensor]:
        return outputs_of(self._ready(keywords or arguments)())
