"""A model that runs once: its flags, its random numbers, and the inputs of its submodules."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.graph import random_numbers
from virtualpool.graph.forward import Rewritten
from virtualpool.graph.inputs import Call, as_call, map_tensors, tensors
from virtualpool.graph.state import state_kept
from virtualpool.graph.sums import is_sum_module
from virtualpool.graph.tracer import convolutions
from virtualpool.torch_private import CONVOLUTION


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradients and with random numbers of its own; flags are restored.

    As `eval()` does, it makes fused models follow their parameters.

    >>> model = nn.Dropout()
    >>> with evaluating(model):
    ...     model.training
    False
    >>> model.training
    True
    """
    flags = {module: module.training for module in model.modules()}
    with random_numbers.kept(), torch.no_grad():
        set_training(model, False)
        try:
            for module in flags:
                if isinstance(module, Rewritten):
                    module.follow_parameters()
            yield
        finally:
            for module, flag in flags.items():
                module.training = flag


def set_training(module: nn.Module, training: bool) -> None:
    """Sets the flags of all modules, and nothing else."""
    # Not module.train(): a model may override it, and only the flags matter here.
    for submodule in module.modules():
        submodule.training = training


def run(model: nn.Module, call: Call) -> Any:
    """Calls a model on copies of its inputs, always with the same random numbers.

    Raises:
        VirtualPoolError: the model fails; the message has the shapes of its inputs.
    """
    positional, keywords = map_tensors(torch.clone, call)
    random_numbers.seed(0)
    try:
        return model(*positional, **keywords)
    except Exception as error:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors(call)) or "none"
        said = f"{type(error).__name__}: {error}".rstrip(". ")
        raise VirtualPoolError(
            f"{type(model).__name__} does not run on the example inputs (tensors of shape "
            f"{shapes}): {said}. Give inputs that its forward takes."
        ) from error


def calls(
    model: nn.Module, example_inputs: Any, keep: Callable[[Tensor], Tensor]
) -> dict[str, Call]:
    """The inputs of each submodule with convolutions, or of sums alone, at its first call.

    Args:
        model: in the mode in which it is to run.
        example_inputs: see `virtualpool.graph.inputs`.
        keep: the value to keep of each tensor.
    """
    found: dict[str, Call] = {}

    def recorder(name: str) -> Any:
        def record(_: nn.Module, arguments: Any, keywords: Any) -> None:
            if name not in found:
                found[name] = map_tensors(keep, (arguments, keywords))

        return record

    handles = [
        module.register_forward_pre_hook(recorder(name), with_kwargs=True)
        for name, module in model.named_modules()
        if (convolutions(module) and not isinstance(module, CONVOLUTION)) or is_sum_module(module)
    ]
    try:
        with state_kept(model):
            run(model, as_call(example_inputs))
    finally:
        for handle in handles:
            handle.remove()
    return found
