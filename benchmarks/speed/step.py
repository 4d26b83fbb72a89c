"""A training step, as it is timed and as its memory is measured."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.common.candidates import Candidate
from virtualpool.graph.inputs import call, tensors
from virtualpool.measure.bench import Bench


def step(model: nn.Module, images: Tensor) -> None:
    """A forward and a backward pass; gradients stay from one step to the next, as weights do."""
    model.zero_grad(set_to_none=False)
    loss = torch.stack([output.sum() for output in tensors(call(model, images))]).sum()
    loss.backward()


def step_of(
    candidate: Candidate, device: torch.device, *, autocast: bool = False
) -> Callable[[], None]:
    """A step of a copy of a candidate, channels last, with or without autocast to bfloat16."""
    bench = Bench.of(device, None, channels_last=True)
    model, images = bench.copy_of(candidate.model), bench.inputs(candidate.images, None)
    return partial(_run, model, images, autocast=autocast)


def _run(model: nn.Module, images: Tensor, *, autocast: bool) -> None:
    with torch.autocast(images.device.type, torch.bfloat16, enabled=autocast):
        step(model, images)
