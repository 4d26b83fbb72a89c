"""Proposition 1: how far the error of a pooled site can reach, and how far it does."""

from virtualpool.bound.bounding import Bound, Factor, error_bound, error_bounds
from virtualpool.bound.errors import ErrorSize, Gain
from virtualpool.bound.norms import convolution_norm, matrix_norm
from virtualpool.bound.rule import Operation, UnboundedError, gain_of, join_of

__all__ = [
    "Bound",
    "ErrorSize",
    "Factor",
    "Gain",
    "Operation",
    "UnboundedError",
    "convolution_norm",
    "error_bound",
    "error_bounds",
    "gain_of",
    "join_of",
    "matrix_norm",
]
