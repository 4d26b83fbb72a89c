"""Weights of VGG-16's convolutions from a file."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from virtualpool.errors import VirtualPoolError

_PREFIX = "features."


def load_trunk(features: nn.Module, path: Path) -> None:
    """Loads VGG-16's convolutions, in the dtype that they have.

    Args:
        features: torchvision's `vgg16().features`, or their first thirty layers.
        path: a safetensors file with `features.0.weight`, `features.0.bias` and so on.

    Raises:
        VirtualPoolError: the file cannot be read, or holds other weights than these.
    """
    try:
        weights = {name.removeprefix(_PREFIX): value for name, value in load_file(path).items()}
        features.load_state_dict(weights)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise VirtualPoolError(
            f"{path}: not the weights of VGG-16's trunk ({error}); a safetensors file with "
            "features.0.weight, features.0.bias and so on to features.28 is expected."
        ) from error
