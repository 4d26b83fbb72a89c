"""Whether a file in its runtime gives what the model gives."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.export.arrays import outputs_of
from virtualpool.export.format import Ready
from virtualpool.graph.inputs import call, tensors
from virtualpool.words import first_line

TOLERANCE = {"float32": 1e-3, "float16": 2e-2}
"""The largest difference of outputs, relative to the largest one; rounding alone is far below it.

Float32's comes to 2e-4 behind the hundred random layers of ResNet-101.
"""


@dataclass(frozen=True)
class Check:
    """A comparison of a file with the model.

    Attributes:
        shapes: of the inputs, such as "1x3x64x64".
        difference: the largest of an output, relative to the largest output.
    """

    shapes: str
    difference: float


def difference(found: Any, expected: Any) -> float:
    """The largest difference of two models' outputs, relative to the largest value expected.

    Infinite where numbers of outputs or shapes differ, where values are not finite, and where
    whole numbers, such as labels, are others.

    >>> difference(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    0.5
    """
    one, other = tensors(found), tensors(expected)
    if len(one) != len(other):
        return float("inf")
    return max((_difference(*pair) for pair in zip(one, other, strict=True)), default=0.0)


def checked(ready: Ready, model: nn.Module, every: Iterable[Any], tolerance: float) -> list[Check]:
    """Compares a file with a model, on the example inputs first and then on others.

    Args:
        ready: the file in its runtime.
        model: in eval mode.
        every: inputs; of those after the first two, the ones that the model itself refuses are
            left out, as a network may take multiples of its strides alone.
        tolerance: the largest difference that is no fault.

    Raises:
        VirtualPoolError: the model's own outputs are not finite, the file does not run, or it gives
            something else.
    """
    checks = []
    for index, inputs in enumerate(every):
        shapes = " ".join("x".join(map(str, each.shape)) for each in tensors(inputs))
        try:
            expected = call(model, inputs)
        except Exception:
            if index < 2:
                raise
            continue
        _check_finite(expected, model, shapes)
        try:
            # Some runtimes give views of memory of theirs that the next call writes to.
            found = [each.clone() for each in outputs_of(ready(inputs)())]
        except Exception as error:
            reason = first_line(error)
            raise VirtualPoolError(
                f"The file does not run on inputs of {shapes} ({type(error).__name__}: "
                f"{reason:.300}). Nothing was written; leave fewer axes open, or choose another "
                "format."
            ) from error
        checks.append(Check(shapes, difference(found, expected)))
        if not checks[-1].difference <= tolerance:
            raise VirtualPoolError(
                f"The file gives other outputs than the model on inputs of {shapes}: they differ "
                f"by {checks[-1].difference:.2g} of the largest, where {tolerance:g} is allowed. "
                "Nothing was written; leave fewer axes open, or choose another format or precision."
            )
    return checks


def _difference(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape:
        return float("inf")
    if not expected.is_floating_point():
        return 0.0 if found.equal(expected.to(found.dtype)) else float("inf")
    found, expected = found.double(), expected.double()
    if not (found - expected).isfinite().all():
        return float("inf")
    largest = (found - expected).abs().max() if found.numel() else torch.zeros(())
    return float(largest / expected.abs().max()) if largest else 0.0


def _check_finite(outputs: Any, model: nn.Module, shapes: str) -> None:
    if not tensors(outputs):
        raise VirtualPoolError(
            f"{type(model).__name__} gives no tensors for inputs of {shapes}, and nothing can be "
            "compared. Export a model that gives tensors, or a part of it by part=."
        )
    if not all(each.isfinite().all() for each in tensors(outputs)):
        raise VirtualPoolError(
            f"{type(model).__name__} gives outputs that are not finite for inputs of {shapes}, and "
            "no file can be compared with that. Give example inputs like those that it was trained "
            "on, or mend its weights."
        )
