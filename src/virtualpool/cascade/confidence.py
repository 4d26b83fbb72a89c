"""How sure a classifier is of its answer: the softmax margin, after temperature scaling."""

import math

import torch
from torch import Tensor

_LOWEST, _HIGHEST, _STEPS = 0.25, 16.0, 30


def margin(logits: Tensor, temperature: float) -> Tensor:
    """The largest softmax value minus the second, of each image or of each pixel.

    Args:
        logits: (N, classes, ...), at least two classes, in any floating-point dtype.
        temperature: the logits are divided by it.

    Returns:
        (N, ...) float32, from 0 (two classes are level) to 1; nan where a logit is nan.

    >>> margin(torch.tensor([[2.0, 2.0, 0.0], [9.0, 0.0, 0.0]]), 1.0).round(decimals=2)
    tensor([0., 1.])
    """
    first, second = (logits.float() / temperature).softmax(1).topk(2, dim=1).values.unbind(1)
    return first - second


def fitted_temperature(logits: Tensor, classes: Tensor) -> float:
    """The temperature that makes the softmax most likely to give these classes.

    Source: Guo et al., On calibration of modern neural networks, 2017. The loss is convex in
    1 / temperature, so bisection of its slope finds the least; it is sought from 0.25 to 16, for
    few images can be explained best by a softmax without any doubt.

    Args:
        logits: (N, classes).
        classes: (N,) integers, the classes to give.

    >>> logits = torch.tensor([[4.0, 0.0]] * 4)
    >>> round(fitted_temperature(logits, torch.tensor([0, 0, 0, 1])), 3)  # sigmoid(4 / T) = 3 / 4
    3.641
    """
    logits = logits.double()
    wanted = logits.gather(1, classes[:, None]).mean()
    low, high = math.log(_LOWEST), math.log(_HIGHEST)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        expected = ((logits / math.exp(middle)).softmax(1) * logits).sum(1).mean()
        # Over-confident: the logits that the softmax expects are above the ones that come true.
        low, high = (middle, high) if bool(expected > wanted) else (low, middle)
    return math.exp((low + high) / 2)


def classes_of(logits: Tensor) -> Tensor:
    """The class with the largest logit of each image, (N,)."""
    return torch.argmax(logits, 1)
