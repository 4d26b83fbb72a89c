"""Whether a model is finite: its parameters, its buffers and its outputs."""

from typing import Any

from torch import Tensor, nn

from virtualpool.graph.inputs import call, tensors
from virtualpool.graph.running import evaluating


def finite_values(model: nn.Module, example_inputs: Any) -> set[str]:
    """The names of the parameters, buffers and outputs that hold nan and infinity nowhere.

    A mask may hold minus infinity by design: values that were not finite before do not count.

    Args:
        model: runs in eval mode, without gradients; its training flags are as before afterwards.
        example_inputs: the inputs to call it with.

    >>> import torch
    >>> model = nn.BatchNorm2d(1)
    >>> model.running_mean.fill_(float("nan"))
    tensor([nan])
    >>> sorted(finite_values(model, torch.zeros(1, 1, 2, 2)))
    ['bias', 'num_batches_tracked', 'running_var', 'weight']
    """
    values: dict[str, Tensor] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with evaluating(model):
        outputs = tensors(call(model, example_inputs))
    named = values | {f"output {index}": value for index, value in enumerate(outputs)}
    return {name for name, value in named.items() if bool(value.isfinite().all())}
