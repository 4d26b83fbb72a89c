"""Functions on a copied model that still refer to the original.

`copy.deepcopy` copies no function. So a hook that stores a map in the model that it was made in
does so from a copy too, and the copy reads another model's map.
"""

import dis
import functools
from collections.abc import Iterable, Iterator
from types import FunctionType, MethodType
from typing import Any

from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.graph.containers import FILLED, held_in


def check_is_apart(copied: nn.Module, copies: dict[int, Any]) -> None:
    """Refuses a copy with a function on it that refers to the original.

    A hook is there to read or write; of another function only weights and modules matter.

    Args:
        copied: the copy by `copy.deepcopy`.
        copies: its memo, the copy of each object by the number (`id`) of the original.

    Raises:
        VirtualPoolError: there is one; the message names it and its module.
    """
    for name, module in copied.named_modules():
        for attribute, value in vars(module).items():
            if isinstance(value, FILLED) and not value:
                continue
            is_hook = attribute.endswith("_hooks")
            kinds = object if is_hook else (nn.Module, Tensor)
            for function in _functions([value]):
                for held in _referred_to(function):
                    if isinstance(held, kinds) and copies.get(id(held), held) is not held:
                        kind = "hook" if is_hook else f"function {attribute}:"
                        raise VirtualPoolError(
                            f"The {kind} {function.__qualname__} of {name or 'the model'} refers "
                            f"to a {type(held).__name__} of the model that it was made in, and "
                            "virtualpool works on a copy. Make it a method of a module, which "
                            "copy.deepcopy copies, or remove it."
                        )


def _functions(values: Iterable[Any]) -> Iterator[FunctionType]:
    for value in held_in([*values]):
        # Copied, these have their contents copied too, but for the function itself.
        while isinstance(value, functools.partial | MethodType):
            value = value.func if isinstance(value, functools.partial) else value.__func__
        if isinstance(value, FunctionType):
            yield value


def _referred_to(function: FunctionType) -> Iterator[Any]:
    """The values that a function, and its callees, find without being given them."""
    seen, pending = {function}, [function]
    while pending:
        values = list(held_in(_own_values(pending.pop())))
        yield from values
        found = set(_functions(values)) - seen
        seen |= found
        pending += found


def _own_values(function: FunctionType) -> list[Any]:
    names = {each.argval for each in dis.get_instructions(function) if each.opname == "LOAD_GLOBAL"}
    held = [cell.cell_contents for cell in function.__closure__ or () if not _is_empty(cell)]
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    return [*held, *defaults, *(function.__globals__.get(name) for name in sorted(names))]


def _is_empty(cell: Any) -> bool:
    try:
        return cell.cell_contents is cell
    except ValueError:
        return True
