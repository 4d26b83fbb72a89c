"""Scores without labels: how much of the original's output is left, and how often both agree."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from virtualpool.errors import VirtualPoolError
from virtualpool.fingerprint import fingerprint
from virtualpool.graph.inputs import call, for_model, tensors
from virtualpool.graph.running import evaluating
from virtualpool.measure.score import Score
from virtualpool.measure.unit import Unit

_UNIT = Unit("output agreement", percent=False, decimals=3)


@dataclass(frozen=True)
class Agreement:
    """How near a model's outputs are to the original's, over some samples.

    Attributes:
        samples: how many.
        top1: the share of samples with the largest output in the same place; None where outputs are
            no (N, classes).
        cosine: the mean cosine similarity of the outputs.
    """

    samples: int
    top1: float | None
    cosine: float

    def to_json(self) -> dict[str, Any]:
        """A JSON-able value."""
        return asdict(self)


def agreement(model: nn.Module, original: nn.Module, batches: Iterable[Any]) -> Agreement:
    """How often a model decides as the original does, and how alike their outputs are.

    Args:
        model: the one to judge, such as a pooled model.
        original: the one to agree with.
        batches: inputs, or (inputs, labels) pairs whose labels are not used.

    Raises:
        VirtualPoolError: there are no batches, or the outputs are no tensors of one shape
            (samples, ...), as a detector's.

    >>> network = nn.Linear(3, 4)
    >>> agreement(network, network, [torch.eye(3)])
    Agreement(samples=3, top1=1.0, cosine=1.0)
    """
    same: list[Tensor] = []
    cosines: list[Tensor] = []
    for batch in batches:
        found, expected = _found(model, batch), _found(original, batch)
        one, other = _flat(found), _flat(expected)
        _check_alike(one, other)
        if isinstance(images := _inputs(batch), Tensor) and len(images) != len(other):
            raise VirtualPoolError(
                f"{type(original).__name__} gives {len(other)} outputs for {len(images)} images, "
                "as detectors do, which cannot be compared one by one; judge it by its own score."
            )
        cosines.append(functional.cosine_similarity(one.double(), other.double()))
        if len(expected) == 1 and expected[0].ndim == 2 and expected[0].shape[1] > 1:
            same.append(one.argmax(1) == other.argmax(1))
    if not cosines:
        raise VirtualPoolError("agreement was given no batches; give at least one.")
    every = torch.cat(cosines)
    top1 = float(torch.cat(same).double().mean()) if same else None
    return Agreement(len(every), top1, round(float(every.mean()), 9))


def output_agreement(original: nn.Module, batches: Iterable[Any]) -> Callable[[nn.Module], Score]:
    """Makes an `evaluate(model)` from inputs without labels.

    The score is 1 - ||y' - y|| / ||y||, with y the output of `original` now for a sample and y'
    the model's: the mean over all samples, with its standard error. Outputs in tuples,
    lists and dicts are taken together.

    >>> network = nn.Conv2d(3, 4, 3)
    >>> evaluate = output_agreement(network, [torch.rand(2, 3, 8, 8)])
    >>> print(evaluate(network))
    1.0000 ± 0.0000

    Args:
        original: the network to agree with; its outputs for all samples are kept in memory.
        batches: inputs, or (inputs, labels) pairs whose labels are not used; they are gone
            through once now and once in each evaluation, and must be the same each time.

    Raises:
        VirtualPoolError: there are no batches, they can be gone through only once or differ from
            the first time, or the outputs are no tensors of shape (samples, ...).
    """
    if iter(batches) is batches:
        raise VirtualPoolError(
            "output_agreement goes through its batches for every model, and an iterator can do so "
            "once; give a list or a DataLoader."
        )
    expected = [(_identity(batch), _outputs(original, batch)) for batch in batches]
    if not expected:
        raise VirtualPoolError("output_agreement was given no batches; give at least one.")

    def evaluate(model: nn.Module) -> Score:
        agreements = []
        for index, batch in enumerate(batches):
            if index >= len(expected) or _identity(batch) != expected[index][0]:
                raise VirtualPoolError(
                    f"Batch {index} is another one than at first, so outputs cannot be compared; "
                    "give batches in a fixed order (no shuffle) without random transforms."
                )
            agreements.append(_agreement(_outputs(model, batch), expected[index][1]))
        return Score.of(torch.cat(agreements), unit=_UNIT)

    return evaluate


def _inputs(batch: Any) -> Any:
    return batch[0] if isinstance(batch, tuple | list) else batch


def _identity(batch: Any) -> str:
    return fingerprint({str(index): x for index, x in enumerate(tensors(_inputs(batch)))})


def _outputs(model: nn.Module, batch: Any) -> Tensor:
    """(samples, values) in float32 on the CPU."""
    return _flat(_found(model, batch))


def _flat(found: list[Tensor]) -> Tensor:
    return torch.cat([x.unsqueeze(-1).flatten(1).float() for x in found], 1).cpu()


def _found(model: nn.Module, batch: Any) -> list[Tensor]:
    with evaluating(model):
        outputs = call(model, for_model(_inputs(batch), model))
    found = [output for output in tensors(outputs) if output.is_floating_point()]
    if not found or any(x.ndim == 0 or len(x) != len(found[0]) for x in found):
        raise VirtualPoolError(
            f"{type(model).__name__} gives {[tuple(x.shape) for x in found]}, and only outputs of "
            "shape (samples, ...) can be compared; wrap it so that it gives such tensors."
        )
    return found


def _check_alike(actual: Tensor, expected: Tensor) -> None:
    if actual.shape != expected.shape:
        raise VirtualPoolError(
            f"The model gives {tuple(actual.shape)} values where the original gives "
            f"{tuple(expected.shape)}; give the same network, pooled."
        )


def _agreement(actual: Tensor, expected: Tensor) -> Tensor:
    _check_alike(actual, expected)
    smallest = torch.finfo(expected.dtype).tiny
    return 1 - (actual - expected).norm(dim=1) / expected.norm(dim=1).clamp_min(smallest)
