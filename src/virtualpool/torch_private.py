"""Every private or unstable name of PyTorch that is used: in one place, each with the reason.

A linter refuses them elsewhere; tests/test_torch_private.py says which one a new PyTorch changed.
"""

import functools
import inspect
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

# Fx's placeholder for an argument that is not fixed.
from torch.fx._symbolic_trace import PH
from torch.fx.graph import CodeGen, _PyTreeCodeGen

# The arguments of compiled functions by name.
from torch.fx.operator_schemas import get_signature_for_torch_op

# In whose memory a tensor is: a reference to it, that it is not taken for another one.
from torch.multiprocessing.reductions import StorageWeakRef

# Arguments and results may be any nesting of tuples, lists and dicts; fx flattens them by this.
from torch.utils import _pytree as pytree

# It sees each operation of a forward, below autograd: only PyTorch's own modes are public.
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["PH", "StorageWeakRef", "TorchDispatchMode", "pytree"]

CONVOLUTION = nn.modules.conv._ConvNd
"""The base of all convolutions, transposed ones too: there is no public class for it."""

BATCH_NORM = nn.modules.batchnorm._BatchNorm
"""The base of batch norms of every dimension, and of synchronised ones."""

NORM_WITH_STATISTICS = nn.modules.batchnorm._NormBase
"""The base of batch norms and instance norms."""

CONSTANT = "_tensor_constant"
"""Fx's name of a tensor that the traced code makes by itself, with a number behind it."""


ASKING_FOR_A_USER = "torch._jit_internal"
"""The module in which `torch.jit.isinstance` asks for the class of a value, as code of a user."""


_version = operator.attrgetter("_version")


def is_exporting() -> bool:
    """Whether `torch.export` makes a program, for ONNX too; `torch.compile` makes none."""
    # Not `torch.compiler.is_exporting()`: for Dynamo of PyTorch 2.9 and 2.11 that is true while it
    # compiles, and compiled networks had the forms that are for other runtimes.
    return torch.compiler._is_exporting_flag


def versions_of(tensors: Iterable[Tensor]) -> list[int]:
    """How often each tensor was changed in place: who has changed it is told by nothing else."""
    # Asked at each forward of a fused model: a function of Python's for each would double the time.
    return list(map(_version, tensors))


def stay_at(tensors: Sequence[Tensor], addresses: Sequence[int]) -> Callable[[], bool]:
    """A question: whether the values of tensors are still at their addresses.

    To ask each tensor for its `data_ptr` takes twice as long.
    """
    equal = torch._C._tensors_data_ptrs_at_indices_equal
    return functools.partial(equal, [*tensors], [*addresses], [*range(len(tensors))])


def changes_its_inputs(operation: Any) -> bool:
    """Whether an operation below autograd writes into its inputs; only its schema tells."""
    return operation._schema.is_mutable


def memory_of(x: Tensor) -> StorageWeakRef:
    """A weak reference to the memory of a tensor: the same for all tensors in it."""
    return StorageWeakRef(x.untyped_storage())


def storage_at(reference: StorageWeakRef) -> torch.UntypedStorage | None:
    """The memory that a weak reference is of, while somebody uses it."""
    return torch.UntypedStorage._new_with_weak_ptr(reference.cdata)


def own_parameters(module: nn.Module) -> dict[str, Any]:
    """The dict that holds a module's own parameters: to share them, whatever they are."""
    return module._parameters


def own_buffers(module: nn.Module) -> dict[str, Any]:
    """The dict that holds a module's own buffers: to put back the ones that its code replaces."""
    return module._buffers


def has_forward_hooks(module: nn.Module) -> bool:
    """Whether a module has forward hooks or pre-hooks; only the dicts tell."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def forward_pre_hooks(module: nn.Module) -> list[Any]:
    """The pre-hooks of a module, in order: older forms of weight norm are known by them."""
    return list(module._forward_pre_hooks.values())


def remove_forward_hooks(module: nn.Module, kinds: tuple[type, ...]) -> None:
    """Takes the hooks and pre-hooks of some kinds from a module; copies have no handle for it."""
    for hooks in (module._forward_hooks, module._forward_pre_hooks):
        for key, hook in list(hooks.items()):
            if isinstance(hook, kinds):
                del hooks[key]


@contextmanager
def forward_hooks_off(module: nn.Module, kinds: tuple[type, ...]) -> Iterator[None]:
    """Calls of a module without its hooks and pre-hooks of some kinds."""
    both = module._forward_hooks, module._forward_pre_hooks
    before = [dict(hooks) for hooks in both]
    remove_forward_hooks(module, kinds)
    try:
        yield
    finally:
        for hooks, kept in zip(both, before, strict=True):
            hooks.clear()
            hooks.update(kept)


def has_backward_hooks(module: nn.Module) -> bool:
    """Whether somebody wants to know the gradients of a module's calls; only the dicts say."""
    return bool(module._backward_hooks or module._backward_pre_hooks)


@contextmanager
def hooks_off(module: nn.Module) -> Iterator[None]:
    """Calls of a module, and of those in it, without their hooks; only the dicts hold them all."""
    all_hooks = [
        hooks
        for each in module.modules()
        for hooks in (
            each._forward_hooks,
            each._forward_pre_hooks,
            each._backward_hooks,
            each._backward_pre_hooks,
        )
    ]
    before = [dict(hooks) for hooks in all_hooks]
    for hooks in all_hooks:
        hooks.clear()
    try:
        yield
    finally:
        for hooks, kept in zip(all_hooks, before, strict=True):
            hooks.update(kept)


def calls_around(node: fx.Node) -> list[tuple[str, str]]:
    """The calls of modules in which a node is made, from the outside in, its own among them.

    Each has a name, another for every call, and the name of its module. fx notes them for its own
    messages, under a key that it does not document.
    """
    return [(call, name) for call, (name, _) in node.meta.get("nn_module_stack", {}).items()]


def modules_around(node: fx.Node) -> list[str]:
    """The names of the modules that are being called at a node, from the outside in."""
    return [name for _, name in calls_around(node)]


def signatures_of(function: Callable[..., Any]) -> list[inspect.Signature]:
    """The ways to call one of PyTorch's functions.

    Python knows none of the compiled ones, and fx does in a module that it may change.
    """
    try:
        return [inspect.signature(function)]
    except ValueError:
        return get_signature_for_torch_op(function) or []


def unflattened(graph: fx.Graph) -> pytree.TreeSpec | None:
    """The structure of a graph's result, where fx has flattened it; the graph has none then."""
    code = graph._codegen
    if not isinstance(code, _PyTreeCodeGen):
        return None
    graph.set_codegen(CodeGen())
    return code.pytree_info.out_spec


def sides_of_padding(convolution: nn.Conv2d) -> list[int]:
    """Left, right, top and bottom of every padding but with zeros: no public name has all four."""
    return list(convolution._reversed_padding_repeated_twice)


def set_sides_of_padding(convolution: nn.Conv2d, sides: Iterable[int]) -> None:
    """Makes a convolution pad so many at the left, right, top and bottom, but not with zeros."""
    convolution._reversed_padding_repeated_twice = list(sides)


def runs_convolution_of(module: nn.Module, kind: type[nn.Conv2d]) -> bool:
    """Whether `nn.Conv2d.forward` calls the method of `kind`, which a class may override."""
    own = type(module)._conv_forward  # pyright: ignore[reportAttributeAccessIssue]
    return own is kind._conv_forward and "_conv_forward" not in vars(module)


def compiler_settings() -> tuple[Any, Any]:
    """The settings of Dynamo and of Inductor: freezing and limits can be set nowhere else."""
    # Importing these takes seconds.
    from torch._dynamo import config as dynamo
    from torch._inductor import config as inductor

    return dynamo, inductor


def compiled_package(program: torch.export.ExportedProgram, path: Path) -> None:
    """Compiles a program into a file of AOTInductor, which no public module does."""
    from torch._inductor import aoti_compile_and_package

    aoti_compile_and_package(program, package_path=str(path))


def loaded_package(path: Path) -> Callable[..., Any]:
    """The function in a file of AOTInductor, which no public module loads."""
    from torch._inductor import aoti_load_package

    return aoti_load_package(str(path))


def store_of_processes() -> Any:
    """The store by which processes found each other, for messages when one of them ends."""
    from torch.distributed import distributed_c10d

    return distributed_c10d._get_default_store()


def is_for_classification(preset: Any) -> bool:
    """Whether torchvision's preset for images has a size, a mean and a deviation to read."""
    from torchvision.transforms._presets import ImageClassification

    return isinstance(preset, ImageClassification)
