"""How near a model's outputs are to another one's, without labels."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from virtualpool.errors import VirtualPoolError
from virtualpool.graph.image_scale import transforms_of
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

    A detector of torchvision gives any number of boxes, so its backbone's maps and the outputs of
    the head behind them are compared, before boxes are chosen.

    Args:
        model: the one to judge, such as a pooled model.
        original: the one to agree with.
        batches: inputs, or (inputs, labels) pairs whose labels are not used.

    Raises:
        VirtualPoolError: there are no batches, or the outputs are no tensors of one shape
            (samples, ...), as other detectors'.

    >>> network = nn.Linear(3, 4)
    >>> agreement(network, network, [torch.eye(3)])
    Agreement(samples=3, top1=1.0, cosine=1.0)
    """
    same: list[Tensor] = []
    cosines: list[Tensor] = []
    for batch in batches:
        expected = outputs_of(original, batch)
        one, other = compared(model, outputs_of(model, batch), expected)
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


def outputs_of(model: nn.Module, batch: Any) -> list[Tensor]:
    """The outputs of a model for a batch, each (samples, ...).

    Of a detector of torchvision they are its backbone's maps and what the head behind these gives.

    Raises:
        VirtualPoolError: it gives other outputs.
    """
    inputs = for_model(images_in(batch), model)
    with evaluating(model):
        outputs = _maps(model, inputs) if transforms_of(model) else call(model, inputs)
    found = [output for output in tensors(outputs) if output.is_floating_point()]
    if not found or any(x.ndim == 0 or len(x) != len(found[0]) for x in found):
        raise VirtualPoolError(
            f"{type(model).__name__} gives {[tuple(x.shape) for x in found]}, and only outputs of "
            "shape (samples, ...) can be compared; wrap it so that it gives such tensors."
        )
    return found


def _maps(detector: Any, images: Any) -> Any:
    prepared, _ = detector.transform([*images])
    maps = tensors(detector.backbone(prepared.tensors))
    head = detector.rpn.head if hasattr(detector, "rpn") else detector.head
    return maps, head(maps)


def compared(
    model: nn.Module, found: list[Tensor], expected: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """A model's outputs and the original's, both (samples, values) in float32 on the CPU.

    Of a detector each output counts alike, in parts of the original's norm. Where its images have
    another scale, its maps are resized to the original's, and its boxes and classes are left out.

    Raises:
        VirtualPoolError: they are not alike.
    """
    if transforms_of(model) and len(found) == len(expected):
        pairs = [_alike(*pair) for pair in zip(found, expected, strict=True)]
        found, expected = (list(each) for each in zip(*filter(None, pairs), strict=True))
    one, other = _flat(found), _flat(expected)
    if one.shape != other.shape:
        raise VirtualPoolError(
            f"The model gives {tuple(one.shape)} values where the original gives "
            f"{tuple(other.shape)}; give the same network, pooled."
        )
    return one, other


def _alike(output: Tensor, like: Tensor) -> tuple[Tensor, Tensor] | None:
    """A detector's output in the size of the original's, both in parts of the latter's norm."""
    if output.ndim == 4 and output.shape != like.shape:
        output = functional.interpolate(output, like.shape[2:], mode="bilinear")
    if output.shape != like.shape:
        return None
    norm = like.flatten(1).norm(dim=1).clamp_min(torch.finfo(like.dtype).tiny)
    norm = norm.view(-1, *[1] * (like.ndim - 1))
    return output / norm, like / norm


def _flat(found: list[Tensor]) -> Tensor:
    return torch.cat([x.unsqueeze(-1).flatten(1).float() for x in found], 1).cpu()
