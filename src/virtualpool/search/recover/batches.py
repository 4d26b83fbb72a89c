"""The images of a batch."""

from typing import Any

import torch
from torch import Tensor


def images_of(batch: Any) -> Any:
    """What a model takes of a batch of images or of (images, labels).

    A batch (N, C, H, W) is laid out channels last; a list, as detectors take it, stays as it is.

    >>> images_of((torch.zeros(2, 3, 4, 4), torch.zeros(2))).shape
    torch.Size([2, 3, 4, 4])
    """
    images = batch if isinstance(batch, Tensor) else batch[0]
    if isinstance(images, Tensor) and images.ndim == 4:
        return images.contiguous(memory_format=torch.channels_last)
    return images
