"""A score without labels: how much of the original's outputs is left."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.fingerprint import fingerprint
from virtualpool.graph.inputs import images_in, tensors
from virtualpool.measure.agreement import compared, outputs_of
from virtualpool.measure.score import Score
from virtualpool.measure.unit import Unit

_UNIT = Unit("output agreement", percent=False, decimals=3)


def output_agreement(original: nn.Module, batches: Iterable[Any]) -> Callable[[nn.Module], Score]:
    """Makes an `evaluate(model)` from inputs without labels.

    The score is 1 - ||y' - y|| / ||y||, with y the output of `original` now for a sample and y'
    the model's: the mean over all samples, with its standard error. Outputs in tuples,
    lists and dicts are taken together. Of a detector of torchvision its backbone's maps
    and the outputs of the head behind them are compared, each of them counts alike.

    >>> network = nn.Conv2d(3, 4, 3)
    >>> evaluate = output_agreement(network, [torch.rand(2, 3, 8, 8)])
    >>> print(evaluate(network))
    1.0000 ± 0.0000

    Args:
        original: the network to agree with; its outputs for all samples are kept in memory.
        batches: inputs, or (inputs, labels) pairs whose labels are not used; they are gone
            through once now and once in each evaluation, and must be the same each time.

    Returns:
        A function of a model that gives a `Score`: 1 for equal outputs, less for others.

    Raises:
        VirtualPoolError: there are no batches, they can be gone through only once or differ from
            the first time, or the outputs are no tensors of shape (samples, ...).
    """
    return comparing(
        batches,
        lambda batch: outputs_of(original, batch),
        lambda model, batch, expected: _agreement(
            *compared(model, outputs_of(model, batch), expected)
        ),
        _UNIT,
    )


def comparing(
    batches: Iterable[Any],
    ask: Callable[[Any], Any],
    compare: Callable[[nn.Module, Any, Any], Tensor],
    unit: Unit,
) -> Callable[[nn.Module], Score]:
    """Makes an `evaluate(model)` from a comparison with what the original gives now.

    Args:
        batches: are gone through once now and once in each evaluation.
        ask: what the original gives for a batch, kept in memory.
        compare: of a model, a batch and what the original gave: the scores of its samples.
        unit: of the scores.

    Raises:
        VirtualPoolError: there are no batches, or they can be gone through only once; in an
            evaluation, they are others than at first.
    """
    if iter(batches) is batches:
        raise VirtualPoolError(
            "The batches are gone through for every model, and an iterator can do so once; give a "
            "list or a DataLoader."
        )
    expected = [(_identity(batch), ask(batch)) for batch in batches]
    if not expected:
        raise VirtualPoolError("The agreement was given no batches; give at least one.")

    def evaluate(model: nn.Module) -> Score:
        scores = []
        for index, batch in enumerate(batches):
            if index >= len(expected) or _identity(batch) != expected[index][0]:
                raise VirtualPoolError(
                    f"Batch {index} is another one than at first, so outputs cannot be compared; "
                    "give batches in a fixed order (no shuffle) without random transforms."
                )
            scores.append(compare(model, batch, expected[index][1]))
        return Score.of(torch.cat(scores), unit=unit)

    return evaluate


def _identity(batch: Any) -> str:
    return fingerprint({str(index): x for index, x in enumerate(tensors(images_in(batch)))})


def _agreement(actual: Tensor, expected: Tensor) -> Tensor:
    smallest = torch.finfo(expected.dtype).tiny
    return 1 - (actual - expected).norm(dim=1) / expected.norm(dim=1).clamp_min(smallest)
