"""The state of a model beside its weights: copied, or put back after the model has run."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.graph.forward import CONSTANT


def copy_of(model: nn.Module) -> nn.Module:
    """A copy of a model; one that cannot be copied is refused."""
    try:
        return copy.deepcopy(model)
    except Exception as error:
        raise VirtualPoolError(
            f"{type(model).__name__} cannot be copied ({type(error).__name__}: {error}); "
            "virtualpool works on a copy: make copy.deepcopy(model) work."
        ) from error


@contextmanager
def state_kept(model: nn.Module) -> Iterator[None]:
    """Puts back the attributes and the buffers of every module, but not new constants.

    >>> model = nn.BatchNorm2d(3).train()
    >>> with state_kept(model):
    ...     model.eval().num_batches_tracked.add_(1)
    tensor(1)
    >>> model.training, model.num_batches_tracked
    (True, tensor(0))
    """
    # A scripted module has no state in Python.
    modules = [each for each in model.modules() if not isinstance(each, torch.jit.ScriptModule)]
    attributes = {module: dict(vars(module)) for module in modules}
    buffers = {module: dict(module._buffers) for module in modules}
    values: dict[Tensor, Tensor] = {buffer: buffer.clone() for buffer in model.buffers()}
    try:
        yield
    finally:
        for module, before in attributes.items():
            now = vars(module)
            constants = {name: now[name] for name in now if name.startswith(CONSTANT)}
            now.clear()
            now.update(before | constants)
            module._buffers.clear()  # of buffers that the code has registered meanwhile, too
            module._buffers.update(buffers[module])
        for buffer, value in values.items():
            buffer.data.copy_(value)
