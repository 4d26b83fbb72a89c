"""Gives a rewritten graph back to the module that it was traced from.

The module keeps its class (it becomes a subclass of it), its attributes, its parameters and their
names; only `forward` is new. Copying, pickling, DDP and `torch.compile` see an ordinary module.
"""

import copy
import functools
import importlib
import inspect
import itertools
import linecache
from collections.abc import Callable
from types import ModuleType
from typing import Any

from torch import Tensor, fx, nn

from virtualpool.plan import record_of
from virtualpool.torch_private import CONSTANT

_SITES = "_virtualpool_sites"
_numbers = itertools.count()


class ForwardCode:
    """The Python source of a graph and the names that it refers to; immutable and picklable."""

    def __init__(self, source: str, names: dict[str, Any]) -> None:
        self.source = source
        self.names = names
        self.function = _compiled(source, names)

    @classmethod
    def of(cls, graph: fx.Graph) -> "ForwardCode":
        """The code of a graph whose module is called `self`."""
        code = graph.python_code("self")
        return cls(code.src, code.globals)

    def __deepcopy__(self, memo: dict[int, Any]) -> "ForwardCode":
        return self

    def __reduce__(self) -> Any:
        # Modules cannot be pickled, their names can.
        names = {
            key: _ModuleName(value.__name__) if isinstance(value, ModuleType) else value
            for key, value in self.names.items()
        }
        return _restore_code, (self.source, names)


class Rewritten:
    """Comes before the original class in the bases of a module with a rewritten forward."""

    original_class: type[nn.Module]
    evaluation: ForwardCode
    training_code: ForwardCode

    def extra_repr(self) -> str:
        """The original class's text for itself, and the pooled sites.

        >>> import torch
        >>> from virtualpool import apply
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
        >>> apply(model, torch.zeros(1, 3, 16, 16))
        PooledSequential(
          pooled sites: 0
          (0): Conv2d(3, 8, kernel_size=(3, 3), stride=(2, 2))
          (1): ReLU()
        )
        """
        said = super().extra_repr()  # pyright: ignore[reportAttributeAccessIssue]
        record = record_of(self)  # pyright: ignore[reportArgumentType]
        names = vars(self).get(_SITES, []) if record is None else record.plan.names
        pooled = f"pooled sites: {', '.join(names)}" if names else ""
        scale = 1.0 if record is None else record.plan.image_scale
        scaled = "" if scale == 1 else f"image scale: {scale:g}"
        return "\n".join(each for each in (said, pooled, scaled) if each)

    def for_evaluation(self, inputs: Any) -> tuple[Any, Any]:
        """The object that the code of eval mode reads attributes from, and its inputs.

        Refuses inputs for which the code does not hold.
        """
        return self, inputs

    def follow_parameters(self) -> None:
        """Makes the values that were computed from the parameters right for the present ones."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        new: Any = object.__new__(type(self))
        memo[id(self)] = new
        new.__setstate__(copy.deepcopy(_state(self), memo))
        return new

    def __reduce_ex__(self, protocol: Any) -> Any:
        kind = type(self)
        base, codes = kind.__bases__[0], (kind.evaluation, kind.training_code)
        return _restore_module, (kind.original_class, *codes, base), _state(self)


def _state(module: Any) -> Any:
    # A class may decide which state is copied. Not every Python and PyTorch has a default.
    return module.__getstate__() if hasattr(module, "__getstate__") else vars(module)


def original_class(module: nn.Module) -> type[nn.Module]:
    """The class of a module before it was rewritten."""
    return module.original_class if isinstance(module, Rewritten) else type(module)


def rewrite_forward(
    module: nn.Module,
    evaluation: fx.Graph,
    training: fx.Graph,
    base: type[Rewritten] = Rewritten,
) -> None:
    """Makes `module` compute `evaluation` in eval mode and `training` in training mode.

    Its class gets `base` before the original one.
    """
    _keep_constants(module, evaluation, training)
    codes = ForwardCode.of(evaluation), ForwardCode.of(training)
    module.__class__ = _rewritten_class(original_class(module), *codes, base)


def name_pooled_sites(module: nn.Module, names: list[str]) -> None:
    """Lets a rewritten part of a model say, where it is shown, which of its sites are pooled."""
    vars(module)[_SITES] = [*vars(module).get(_SITES, []), *names]


def _rewritten_class(
    original: type[nn.Module],
    evaluation: ForwardCode,
    training: ForwardCode,
    base: type[Rewritten],
) -> type[nn.Module]:
    members = {
        "__doc__": original.__doc__,
        "__module__": original.__module__,
        "original_class": original,
        "evaluation": evaluation,
        "training_code": training,
        "forward": _forward(evaluation, training),
    }
    return type(f"Pooled{original.__name__}", (base, original), members)


def _forward(evaluation: ForwardCode, training: ForwardCode) -> Callable[..., Any]:
    if evaluation.source == training.source:
        return evaluation.function

    @functools.wraps(evaluation.function)
    def forward(self: Any, *arguments: Any, **keywords: Any) -> Any:
        if self.training:
            return training.function(self, *arguments, **keywords)
        reader, (arguments, keywords) = self.for_evaluation((arguments, keywords))
        return evaluation.function(reader, *arguments, **keywords)

    return forward


def _compiled(source: str, names: dict[str, Any]) -> Callable[..., Any]:
    filename = f"<virtualpool forward {next(_numbers)}>"
    # Tracebacks and debuggers then show the lines of the generated code.
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    scope = dict(names)
    exec(compile(source, filename, "exec"), scope)
    return inspect.unwrap(scope["forward"])


def _keep_constants(module: nn.Module, *graphs: fx.Graph) -> None:
    # Tracing leaves tensors that the code made on the way as plain attributes, which would stay
    # behind when the module moves to another device.
    targets = {node.target for graph in graphs for node in graph.nodes if node.op == "get_attr"}
    for name in sorted(str(target) for target in targets):
        value = vars(module).get(name)
        if name.startswith(CONSTANT) and isinstance(value, Tensor):
            delattr(module, name)
            module.register_buffer(name, value, persistent=False)


class _ModuleName(str):
    """The name of a Python module, in place of the module."""


def _restore_code(source: str, names: dict[str, Any]) -> ForwardCode:
    found = {
        key: importlib.import_module(value) if isinstance(value, _ModuleName) else value
        for key, value in names.items()
    }
    return ForwardCode(source, found)


def _restore_module(
    original: type[nn.Module],
    evaluation: ForwardCode,
    training: ForwardCode,
    base: type[Rewritten],
) -> nn.Module:
    return object.__new__(_rewritten_class(original, evaluation, training, base))
