"""Compiling a model for measurement, with frozen weights, without a trace in the process."""

import functools
from types import FunctionType
from typing import Any

import torch
from torch import nn

from virtualpool.errors import VirtualPoolError
from virtualpool.graph.inputs import as_call
from virtualpool.measure.bench import device_of
from virtualpool.torch_private import compiler_settings
from virtualpool.words import first_line


@functools.cache
def can_compile(device: str = "cpu") -> bool:
    """Whether `torch.compile` works here: it needs a C++ compiler, and Triton on a GPU.

    Compiles one operation to find out, which takes seconds; asked once a process.
    """
    try:
        with torch.no_grad():
            _compile(nn.ReLU(), torch.zeros(8, device=device))
    except Exception:
        return False
    return True


def compiled(
    model: nn.Module, example_inputs: Any, name: str, *, tuned: bool = False
) -> functools.partial[Any]:
    """Compiles a model with its weights as constants, for inputs of exactly these shapes.

    Call it without gradients: torch freezes weights only then.

    Args:
        model: in eval mode; runs on the inputs.
        example_inputs: see `virtualpool.graph.inputs`.
        name: the model's name in errors.
        tuned: with `torch.compile(mode="max-autotune")`.

    Returns:
        A function of nothing that runs the compiled model on the inputs; its `func` takes others.

    Raises:
        VirtualPoolError: there is no working compiler, or the model cannot be compiled.
    """
    try:
        return _compile(model, example_inputs, "max-autotune" if tuned else "default")
    except Exception as error:
        device = device_of(model).type
        if not can_compile(device):
            raise VirtualPoolError(
                f"torch.compile does not work on this machine's {device}: it needs a C++ compiler "
                'such as g++, and Triton on a GPU. Install them, or use mode="eager".'
            ) from error
        reason = first_line(error)
        raise VirtualPoolError(
            f"{name} cannot be compiled ({type(error).__name__}: {reason}); "
            'use mode="eager" for it.'
        ) from error


def _compile(
    model: nn.Module, example_inputs: Any, mode: str = "default"
) -> functools.partial[Any]:
    dynamo, inductor = compiler_settings()

    def forward(*arguments: Any, **keywords: Any) -> Any:
        return model(*arguments, **keywords)

    # Dynamo keeps its results by code object, at most eight to each, and tries them
    # one after another. A code object of its own keeps models of one class apart from each other
    # and from the caller's.
    code = forward.__code__.replace()
    own = FunctionType(code, forward.__globals__, closure=forward.__closure__)
    arguments, keywords = as_call(example_inputs)
    ready = torch.compile(own, dynamic=False, mode=mode)
    run = functools.partial(ready, *arguments, **keywords)
    # Where code breaks a graph, the submodules' code objects are shared after all.
    with (
        inductor.patch(freezing=True),
        dynamo.patch(recompile_limit=1024, accumulated_recompile_limit=4096),
    ):
        run()
    return run
