"""Answers about modules, each asked for once while the modules stay as they are."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from torch import nn

T = TypeVar("T")

_ANSWERS: ContextVar[dict[Any, Any] | None] = ContextVar("answers", default=None)


@contextmanager
def answers_remembered() -> Iterator[None]:
    """Within, a function that is decorated by `remembered` is asked once of each module.

    Modules that such functions speak of must not change within.
    """
    if _ANSWERS.get() is not None:
        yield
        return
    token = _ANSWERS.set({})
    try:
        yield
    finally:
        _ANSWERS.reset(token)


def remembered(answer: Callable[[nn.Module], T]) -> Callable[[nn.Module], T]:
    """A function of a module whose answers are remembered within `answers_remembered`.

    >>> asked = []
    >>> count = remembered(lambda module: asked.append(module) or len([*module.modules()]))
    >>> with answers_remembered():
    ...     one = nn.ReLU()
    ...     count(one), count(one), len(asked)
    (1, 1, 1)
    """

    @functools.wraps(answer)
    def found(module: nn.Module) -> T:
        answers = _ANSWERS.get()
        if answers is None:
            return answer(module)
        # It may get another class, and then other code.
        key = answer, module, type(module)
        if key not in answers:
            answers[key] = answer(module)
        return answers[key]

    return found
