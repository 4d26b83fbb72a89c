"""A model as a CUDA graph: all of its kernels are launched at once, whoever wrote them."""

import functools
from typing import Any

import torch
from torch import nn

from virtualpool.errors import VirtualPoolError
from virtualpool.graph.inputs import as_call
from virtualpool.measure.bench import device_of
from virtualpool.words import first_line

# Libraries choose kernels and take memory in their first calls, and may do neither in a capture.
_CALLS_BEFORE = 3


def captured(model: nn.Module, example_inputs: Any, name: str) -> functools.partial[Any]:
    """Captures one call of a model as a CUDA graph.

    Call it without gradients. Small batches on a fast GPU spend their time on launching kernels;
    a graph launches them together, so the kernels themselves are compared.

    Args:
        model: in eval mode, on a CUDA device; runs on the inputs.
        example_inputs: see `virtualpool.graph.inputs`.
        name: the model's name in errors.

    Returns:
        A function of nothing that runs the graph on these inputs, and gives the same output tensors
        with new values.

    Raises:
        VirtualPoolError: the model is not on a CUDA device, or waits for the GPU in its forward.
    """
    device = device_of(model)
    if device.type != "cuda":
        raise VirtualPoolError(
            f'{name} is on {device}, and CUDA graphs need a CUDA device. Give device="cuda", or '
            'mode="eager" or "compiled".'
        )
    arguments, keywords = as_call(example_inputs)
    own = torch.cuda.Stream(device)
    own.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(own):
        for _ in range(_CALLS_BEFORE):
            model(*arguments, **keywords)
    torch.cuda.current_stream(device).wait_stream(own)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, stream=own):
            output = model(*arguments, **keywords)
    except RuntimeError as error:
        reason = first_line(error)
        raise VirtualPoolError(
            f"{name} cannot be captured as a CUDA graph ({reason}): its forward waits for the GPU. "
            'Use mode="eager" for it.'
        ) from error
    # The graph reads and writes these tensors: they must live as long as it.
    return functools.partial(_replayed, graph, output, example_inputs)


def _replayed(graph: torch.cuda.CUDAGraph, output: Any, _: Any) -> Any:
    graph.replay()
    return output
