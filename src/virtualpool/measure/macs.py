"""Multiply-accumulates of a forward pass, by torch's own counter."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.backends import mha
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from virtualpool.graph.inputs import as_call
from virtualpool.graph.running import evaluating, run
from virtualpool.measure.bench import image_count


def macs(model: nn.Module, example_inputs: Any) -> int:
    """Counts the multiply-accumulates of one forward pass in eval mode, per image.

    Convolutions, matrix products and attention are counted, with the zeros that padding adds.
    Everything else counts as nothing: normalisation, activations, pooling, additions, and the
    interpolation of virtual pools (the paper puts it at 4.7% of a network's time), so the number
    says how much arithmetic there is, not how long it takes.

    Args:
        model: runs on the inputs; not changed.
        example_inputs: a tensor, a tuple of positional or a dict of keyword arguments.

    Returns:
        Multiply-accumulates for one image: half of the FLOPs that other tools count.

    Raises:
        VirtualPoolError: the model does not run on the inputs, or they hold no image.

    >>> import torch
    >>> macs(nn.Conv2d(3, 8, 3, padding=1), torch.zeros(2, 3, 10, 12))  # 8 * 3 * 3 * 3 * 10 * 12
    25920
    """
    images = image_count(example_inputs)
    with evaluating(model), _attention_in_steps(), FlopCounterMode(display=False) as counter:
        run(model, as_call(example_inputs))
    # A multiply-accumulate is two operations.
    return counter.get_total_flops() // 2 // images


@contextmanager
def _attention_in_steps() -> Iterator[None]:
    # The counter has no formula for the fused operators that attention is else made of.
    before = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        mha.set_fastpath_enabled(before)
