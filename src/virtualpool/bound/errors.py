"""The size of an error, by the paper's measure and by ours; and an operation's effect on it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ErrorSize:
    """The most that an error of a value can be, image by image.

    Attributes:
        largest: (N,) float64, of any element: the measure of the paper's proof.
        norm: (N,) float64, the root of the sum of squares over all elements: the measure of ours.
    """

    largest: Tensor
    norm: Tensor


@dataclass(frozen=True)
class Gain:
    """By how much an operation can multiply an error, in either measure.

    >>> error = ErrorSize(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 5.0]))
    >>> Gain(largest=1.0, norm=2.0).of(error)
    ErrorSize(largest=tensor([1., 2.]), norm=tensor([ 6., 10.]))
    """

    largest: float
    norm: float

    @classmethod
    def lipschitz(cls, constant: float) -> "Gain":
        """The gain of a function of each element, from its Lipschitz constant."""
        return cls(constant, constant)

    def of(self, error: ErrorSize) -> ErrorSize:
        """The largest error of the result, given an error of the input."""
        return ErrorSize(self.largest * error.largest, self.norm * error.norm)


def repeated(error: ErrorSize, times: float) -> ErrorSize:
    """The error of a value that is there several times, as by broadcasting."""
    return ErrorSize(error.largest, math.sqrt(times) * error.norm)


def sum_of(errors: Sequence[ErrorSize]) -> ErrorSize:
    """The error of a sum or a difference: by the triangle inequality at most the sum."""
    return ErrorSize(
        torch.stack([error.largest for error in errors]).sum(0),
        torch.stack([error.norm for error in errors]).sum(0),
    )


def side_by_side(errors: Sequence[ErrorSize]) -> ErrorSize:
    """The error of several values that stay as they are: a concatenation, several outputs."""
    return ErrorSize(
        torch.stack([error.largest for error in errors]).amax(0),
        torch.stack([error.norm for error in errors]).norm(dim=0),
    )
