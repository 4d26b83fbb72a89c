"""The tensor among a network's outputs that holds its answer."""

from collections.abc import Mapping
from typing import Any

_NAMES = "logits", "out"
"""As Hugging Face's networks call their answer, and torchvision's for segmentation."""


def answer_in(outputs: Any) -> Any:
    """The answer among a network's outputs; the outputs themselves where no name tells it.

    Args:
        outputs: of any kind; a dict is searched for "logits" and "out", an object for `logits`.

    >>> answer_in({"out": 1, "aux": 2}), answer_in(3)
    (1, 3)
    """
    if isinstance(outputs, Mapping):
        return next((outputs[name] for name in _NAMES if name in outputs), outputs)
    return getattr(outputs, "logits", outputs)
