"""The forms of All-CNN-C whose speed and accuracy are compared, in every precision."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

import virtualpool as vp
from benchmarks.accuracy.ablation.setup import Setup
from benchmarks.accuracy.stacking_parts.trained import BOTH, ORIGINAL, POOLED, PRUNED
from benchmarks.common.candidates import Candidate

CALIBRATION = 256
"""Training images."""


def forms(models: Mapping[str, nn.Module], images: Tensor) -> dict[str, Candidate]:
    """The candidates by name, from the results of `trained`."""
    return {
        ORIGINAL: Candidate(models[ORIGINAL], images, models[ORIGINAL]),
        "pooled, unfused": Candidate(models[POOLED], images, models[POOLED]),
        "pooled, fused": Candidate(vp.fuse(models[POOLED], images), images, models[POOLED]),
        PRUNED: Candidate(models[PRUNED], images, models[PRUNED]),
        f"{BOTH}, fused": Candidate(vp.fuse(models[BOTH], images), images, models[BOTH]),
    }


def calibration(setup: Setup, batch: int) -> list[Tensor]:
    """Training images in batches of one size, in this order and cropped so in every process."""
    torch.manual_seed(0)
    drawn: list[Tensor] = []
    for images, _ in setup.train:
        drawn += images.split(batch)
        if len(drawn) * batch >= CALIBRATION:
            break
    return [images for images in drawn if len(images) == batch][: CALIBRATION // batch]
