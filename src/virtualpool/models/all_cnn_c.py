"""All-CNN-C: nine convolutions and nothing else, the paper's network for CIFAR-10."""

from importlib.resources import as_file, files
from typing import Literal

import torch
from safetensors.torch import load_file
from torch import nn

from virtualpool.errors import VirtualPoolError

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
"""Mean of the red, green and blue of CIFAR-10, in [0, 1]."""

CIFAR10_STD = (0.2470, 0.2435, 0.2616)
"""Standard deviation of the red, green and blue of CIFAR-10, in [0, 1]."""

_WEIGHTS = {"cifar10": "all_cnn_c_cifar10.safetensors"}


class AllCNNC(nn.Module):
    """All-CNN-C of Springenberg et al., *Striving for Simplicity* (2014), table 1.

    Strides take the place of pooling (`convs.2` and `convs.5`). A ReLU follows every convolution
    but the last, whose map is averaged over its positions. Dropout is left out.

    Takes (N, 3, H, W) floating point images, normalised by `CIFAR10_MEAN` and `CIFAR10_STD`, and
    gives (N, classes) logits.

    >>> AllCNNC()(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            [
                nn.Conv2d(3, 96, 3, padding=1),
                nn.Conv2d(96, 96, 3, padding=1),
                nn.Conv2d(96, 96, 3, stride=2, padding=1),
                nn.Conv2d(96, 192, 3, padding=1),
                nn.Conv2d(192, 192, 3, padding=1),
                nn.Conv2d(192, 192, 3, stride=2, padding=1),
                nn.Conv2d(192, 192, 3, padding=1),
                nn.Conv2d(192, 192, 1),
                nn.Conv2d(192, classes, 1),
            ]
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) normalised images to (N, classes) logits."""
        *hidden, last = self.convs
        maps = images
        for conv in hidden:
            maps = conv(maps).relu()
        return last(maps).mean((2, 3))


def all_cnn_c(weights: Literal["cifar10"] | None = None) -> AllCNNC:
    """All-CNN-C for ten classes, untrained or with the weights that come with the library.

    Args:
        weights: "cifar10" (fp32, 5.5 MB, in the package) has an accuracy of 0.887 on the 10,000
            test images; `None` leaves the random start.

    Raises:
        VirtualPoolError: there are no weights of that name.
    """
    model = AllCNNC()
    if weights is None:
        return model
    if weights not in _WEIGHTS:
        raise VirtualPoolError(
            f"all_cnn_c has no weights {weights!r}; there are: {', '.join(_WEIGHTS)}."
        )
    with as_file(files("virtualpool.models") / _WEIGHTS[weights]) as path:
        model.load_state_dict(load_file(path))
    return model
