"""Forward passes that pause at each layer, so that a layer can be changed before it runs on."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from virtualpool.recover.shortcuts import Shortcut

_running = threading.local()


class PausedForward:
    """One call of a model, which goes on from layer to layer when it is told to.

    The call runs in a thread of its own, and only while `advance` waits for it, so one call runs
    at a time. Between two layers only the maps that the model still needs are in memory.

    >>> model = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1))
    >>> with pausing_at(model, before=["0", "2"]):
    ...     forward = PausedForward(lambda: model(torch.ones(1, 1)))
    ...     print([pause[0] for pause in iter(forward.advance, None)])
    ['0', '2']

    Args:
        call: the call.
        within: a context that the call runs in.

    Attributes:
        kept: maps that `keeping` kept, by name.
    """

    def __init__(
        self, call: Callable[[], Any], within: AbstractContextManager[Any] | None = None
    ) -> None:
        self.result: Any = None
        self.kept: dict[str, Tensor] = {}
        self._call, self._within = call, within or nullcontext()
        self._at: tuple[str, Tensor] | None = None
        self._error: BaseException | None = None
        self._is_given_up = False
        self._turn, self._answer = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def advance(self) -> tuple[str, Tensor] | None:
        """Goes on to the next layer: its name and map. None when the call has ended.

        Errors of the call are raised here.
        """
        if not self._thread.is_alive() and self._at is None and self._error is None:
            return None
        self._at = None
        self._turn.release()
        self._answer.acquire()
        if self._error is not None:
            raise self._error
        return self._at

    def give_up(self) -> None:
        """Ends the call where it is."""
        if self._thread.is_alive():
            self._is_given_up = True
            self._turn.release()
            self._thread.join()

    def pause(self, name: str, x: Tensor) -> None:
        """Waits at a layer, in the thread of the call."""
        self._at = name, x
        self._answer.release()
        self._turn.acquire()
        if self._is_given_up:
            raise _GivenUpError

    def _run(self) -> None:
        _running.forward = self
        self._turn.acquire()
        try:
            if not self._is_given_up:
                with torch.no_grad(), self._within:
                    self.result = self._call()
        except _GivenUpError:
            pass
        except BaseException as error:
            self._error = error
        self._answer.release()


class _GivenUpError(BaseException):
    """Ends a forward from within."""


class pausing_at:  # noqa: N801  (read as a statement)
    """Makes forwards of a model pause at modules, by name, within.

    Args:
        model: the model to call.
        before: pause with the input, before the module runs.
        after: pause with the output, after it ran.
    """

    def __init__(
        self, model: nn.Module, *, before: list[str] | None = None, after: list[str] | None = None
    ) -> None:
        self._model, self._before, self._after = model, before or [], after or []
        self._handles: list[Any] = []

    def __enter__(self) -> None:
        for name in self._before:
            module = self._model.get_submodule(name)
            self._handles.append(module.register_forward_pre_hook(_before(name), with_kwargs=True))
        for name in self._after:
            module = self._model.get_submodule(name)
            self._handles.append(module.register_forward_hook(_after(name)))

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()


@contextmanager
def keeping(model: nn.Module, shortcuts: dict[str, Shortcut]) -> Iterator[None]:
    """Makes forwards of a model, within, keep the maps of shortcuts by their names."""
    handles: list[Any] = []
    for name, shortcut in shortcuts.items():
        module = model.get_submodule(shortcut.module)
        if shortcut.is_read:
            handles.append(module.register_forward_pre_hook(_keep_read(name), with_kwargs=True))
        else:
            handles.append(module.register_forward_hook(_keep_given(name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def read_by(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Tensor:
    """The map among the arguments of a convolution or linear layer.

    >>> read_by((), {"input": 1}), read_by((2,), {})
    (1, 2)
    """
    return arguments[0] if arguments else keywords["input"]


def _before(name: str) -> Callable[..., None]:
    def hook(module: nn.Module, arguments: Any, keywords: Any) -> None:
        if (forward := getattr(_running, "forward", None)) is not None:
            forward.pause(name, read_by(arguments, keywords))

    return hook


def _keep_read(name: str) -> Callable[..., None]:
    def hook(module: nn.Module, arguments: Any, keywords: Any) -> None:
        if (forward := getattr(_running, "forward", None)) is not None:
            forward.kept[name] = read_by(arguments, keywords)

    return hook


def _keep_given(name: str) -> Callable[..., None]:
    def hook(module: nn.Module, arguments: Any, output: Any) -> None:
        if (forward := getattr(_running, "forward", None)) is not None:
            forward.kept[name] = output

    return hook


def _after(name: str) -> Callable[..., None]:
    def hook(module: nn.Module, arguments: Any, output: Any) -> None:
        if (forward := getattr(_running, "forward", None)) is not None:
            forward.pause(name, output)

    return hook
