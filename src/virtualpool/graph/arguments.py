"""Arguments of operations by name, and checks of the ones that a trace holds fixed.

A trace follows one way through `if mask is not None`. Which way depends on the arguments that are
not tensors, so these must be the example inputs' at every call.
"""

import enum
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import has_side_effect
from torch.overrides import handle_torch_function, has_torch_function_unary

from virtualpool.errors import VirtualPoolError
from virtualpool.torch_private import pytree

_PLAIN = (
    bool, int, float, complex, str, type(None),
    torch.dtype, torch.device, torch.layout, torch.memory_format,
)  # fmt: skip


def arguments_of(
    node: fx.Node, names: Sequence[str], module: nn.Module | None = None
) -> dict[str, Any]:
    """The arguments of an operation by name; arguments that are not given are not there.

    Args:
        node: the operation.
        names: of its arguments, in the order of the function.
        module: the module that it calls, if any. Its attributes stand for the arguments after
            the first.

    >>> graph = fx.Graph()
    >>> call = graph.call_function(torch.mean, (graph.placeholder("x"), 1), {"keepdim": True})
    >>> arguments_of(call, ("input", "dim"))
    {'input': x, 'dim': 1, 'keepdim': True}
    """
    given = dict(zip(names, node.args, strict=False)) | node.kwargs
    if module is not None:
        given |= {name: getattr(module, name) for name in names[1:] if hasattr(module, name)}
    return given


def can_be_checked(value: Any) -> bool:
    """Whether a value can be written into code and compared with another one.

    >>> can_be_checked(0.5), can_be_checked(torch.float16), can_be_checked(object())
    (True, True, False)
    """
    return type(value) in _PLAIN or isinstance(value, enum.Enum)


@has_side_effect
def check_value(name: str, value: Any, expected: Any) -> None:
    """Refuses an argument with another value than it was traced with.

    >>> check_value("scale", 2, 2)
    >>> check_value("scale", torch.ones(3), None)
    Traceback (most recent call last):
    virtualpool.errors.VirtualPoolError: scale is a tensor of shape (3,); the model was pooled ...
    """
    # Of its type too: 2.0 would make other dtypes than 2, and a tensor may have a gradient.
    if type(value) is not type(expected) or value != expected:
        raise VirtualPoolError(
            f"{name} is {_described(value)}; the model was pooled with {expected!r}, and takes no "
            "other value. Call it with that one, or pool the original model with example inputs "
            "that hold the new one."
        )


@has_side_effect
def check_length(name: str, value: Any, expected: int) -> None:
    """Refuses an argument with another number of tensors than it was traced with.

    >>> check_length("images", [torch.ones(3)], 1)
    >>> check_length("images", [torch.ones(3)] * 2, 1)
    Traceback (most recent call last):
    virtualpool.errors.VirtualPoolError: images has 2 values; the model was pooled with 1, ...
    """
    found = len(pytree.tree_leaves(value))
    if found != expected:
        raise VirtualPoolError(
            f"{name} has {found} values; the model was pooled with {expected}, and takes no other "
            "number. Pool it again with example inputs like these."
        )


@has_side_effect
def check_absent(name: str, value: Any) -> None:
    """Refuses more arguments than a model was traced with, by `*args` or `**kwargs`.

    >>> check_absent("kwargs", {})
    >>> check_absent("kwargs", {"mask": None})
    Traceback (most recent call last):
    virtualpool.errors.VirtualPoolError: kwargs holds mask; the model was pooled with none of ...
    """
    if value:
        held = ", ".join(value) if isinstance(value, dict) else f"{len(value)} values"
        raise VirtualPoolError(
            f"{name} holds {held}; the model was pooled with none of these, and takes none. Call "
            "it without, or pool the original model with example inputs that hold them."
        )


@has_side_effect
def check_tensor(name: str, value: Any) -> None:
    """Refuses an argument that is no tensor, as it was when the model was traced.

    >>> check_tensor("images", torch.ones(3))
    >>> check_tensor("images", {"img": torch.ones(3)})
    Traceback (most recent call last):
    virtualpool.errors.VirtualPoolError: images is a dict; the model was pooled with a tensor ...
    """
    if not isinstance(value, Tensor):
        raise VirtualPoolError(
            f"{name} is {_described(value)}; the model was pooled with a tensor in its place, and "
            "takes nothing else. Give a tensor, or pool the original model with example inputs "
            "like these."
        )


@has_side_effect
def check_answer(question: str, value: Any, expected: bool) -> None:
    """Refuses inputs for which a question of the code has another answer than it was traced with.

    >>> check_answer("x.shape[1] != 3", 0, False)
    >>> check_answer("x.dim() == 3", True, False)
    Traceback (most recent call last):
    virtualpool.errors.VirtualPoolError: x.dim() == 3 is True here; the model was pooled with ...
    """
    if has_torch_function_unary(value):
        # The code is traced once more: its answer is known.
        handle_torch_function(check_answer, (value,), question, value, expected)
    elif bool(value) != expected:
        raise VirtualPoolError(
            f"{question} is {not expected} here; the model was pooled with inputs for which it is "
            f"{expected}, and takes no others. Give such inputs, or pool the original model with "
            "example inputs like these."
        )


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return repr(value) if can_be_checked(value) else f"a {type(value).__name__}"
