"""How near a model's outputs are to another one's, without labels."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from virtualpool.errors import VirtualPoolError
from virtualpool.graph.inputs import call, for_model, images_in, tensors
from virtualpool.graph.running import evaluating


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
        check_alike(one, other)
        if isinstance(images := images_in(batch), Tensor) and len(images) != len(other):
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


def outputs_of(model: nn.Module, batch: Any) -> Tensor:
    """All outputs of a model for a batch, (samples, values) in float32 on the CPU."""
    return _flat(_found(model, batch))


def _flat(found: list[Tensor]) -> Tensor:
    return torch.cat([x.unsqueeze(-1).flatten(1).float() for x in found], 1).cpu()


def _found(model: nn.Module, batch: Any) -> list[Tensor]:
    with evaluating(model):
        outputs = call(model, for_model(images_in(batch), model))
    found = [output for output in tensors(outputs) if output.is_floating_point()]
    if not found or any(x.ndim == 0 or len(x) != len(found[0]) for x in found):
        raise VirtualPoolError(
            f"{type(model).__name__} gives {[tuple(x.shape) for x in found]}, and only outputs of "
            "shape (samples, ...) can be compared; wrap it so that it gives such tensors."
        )
    return found


def check_alike(actual: Tensor, expected: Tensor) -> None:
    """Refuses outputs that have another shape than the original's."""
    if actual.shape != expected.shape:
        raise VirtualPoolError(
            f"The model gives {tuple(actual.shape)} values where the original gives "
            f"{tuple(expected.shape)}; give the same network, pooled."
        )
