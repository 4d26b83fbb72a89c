"""The state of a model beside its weights: copied, or put back after the model has run."""

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.weight_norm import WeightNorm

from virtualpool.errors import VirtualPoolError
from virtualpool.graph.closures import check_is_apart
from virtualpool.graph.containers import FILLED, held_in
from virtualpool.torch_private import CONSTANT, forward_pre_hooks


def copy_of(model: nn.Module) -> nn.Module:
    """A copy of a model; one that cannot be copied, and be apart, is refused."""
    copies: dict[int, Any] = {}
    try:
        copied = copy.deepcopy(model, copies)
    except Exception as error:
        raise VirtualPoolError(
            f"{type(model).__name__} cannot be copied ({type(error).__name__}: {error}); "
            f"virtualpool works on a copy: {_how_to_copy(model)}."
        ) from error
    check_is_apart(copied, copies)
    return copied


def _how_to_copy(model: nn.Module) -> str:
    """Advice on how to make the model copyable: it may compute a weight before every call."""
    for name, module in model.named_modules():
        for hook in forward_pre_hooks(module):
            layer = f"model.get_submodule({name!r})"
            if isinstance(hook, WeightNorm):
                call = f"torch.nn.utils.remove_weight_norm({layer}, {hook.name!r})"
                return f"{call} makes the weight of that layer a parameter again"
            if isinstance(hook, BasePruningMethod):
                pruned = (each for each, _ in module.named_parameters(recurse=False))
                found = next((it for it in pruned if it.endswith("_orig")), "weight_orig")
                call = f"torch.nn.utils.prune.remove({layer}, {found.removesuffix('_orig')!r})"
                return f"{call} makes its pruned weight a parameter again"
    return "make copy.deepcopy(model) work"


@contextmanager
def state_kept(model: nn.Module) -> Iterator[None]:
    """Puts back the attributes and the buffers of every module, but not new constants.

    Lists, dicts and sets among the attributes get their old contents back: hooks too,
    which a model may install in its first run.

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
    contents = _contents(attributes.values())
    values: dict[Tensor, Tensor] = {buffer: buffer.clone() for buffer in model.buffers()}
    try:
        yield
    finally:
        for module, before in attributes.items():
            now = vars(module)
            constants = {name: now[name] for name in now if name.startswith(CONSTANT)}
            now.clear()
            now.update(before | constants)
        for container, items in contents:
            _refill(container, items)
        for buffer, value in values.items():
            buffer.data.copy_(value)


def _contents(attributes: Iterable[dict[str, Any]]) -> list[tuple[Any, list[Any]]]:
    """Every container that modules hold, also inside others, with its contents.

    PyTorch's own are among them, for buffers, submodules and hooks.
    """
    return [
        (value, list(value.items() if isinstance(value, dict) else value))
        for value in held_in([*attributes])
        if isinstance(value, FILLED)
    ]


def _refill(container: Any, items: list[Any]) -> None:
    if not items and not container:
        return  # as most are, for hooks
    container.clear()
    if isinstance(container, dict | set):
        container.update(items)
    else:
        container.extend(items)
