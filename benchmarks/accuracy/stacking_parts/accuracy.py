"""The accuracy of a network as a runtime computes it, in some precision."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from benchmarks.common.engines import outputs
from virtualpool.export.format import Ready
from virtualpool.search import Score


def top1(ready: Ready, batches: Iterable[Any], count: int) -> Score:
    """The part of images whose class is found.

    Args:
        ready: the network, for `count` images at a time.
        batches: of (images, labels).
        count: images per call; the last call of a batch gets some of them twice.
    """
    right = []
    for images, labels in batches:
        for part, its_labels in zip(images.split(count), labels.split(count), strict=True):
            found = outputs(ready(_filled(part, count)))[0][: len(part)]
            right.append(found.float().argmax(1) == its_labels)
    return Score.of(torch.cat(right).float())


def _filled(images: Tensor, count: int) -> Tensor:
    return images[torch.arange(count) % len(images)]
