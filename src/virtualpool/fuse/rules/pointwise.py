"""Operations on each element, or each position, by itself."""

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from virtualpool.fuse.questions.rule import Asked, Builder, Question, Rule, fallback, rule
from virtualpool.fuse.questions.sizes import even_positions
from virtualpool.fuse.questions.values import CHANNELS_FIRST, Shape, Values
from virtualpool.graph.arguments import arguments_of
from virtualpool.graph.hooks import gradients_agree
from virtualpool.graph.inputs import for_model
from virtualpool.graph.operations import (
    has_hooks_inside,
    is_dropout_of_images,
    kind_of,
    module_kind,
)
from virtualpool.graph.state import state_kept
from virtualpool.operator.pool import Axes
from virtualpool.torch_private import BATCH_NORM


class Pointwise(Rule):
    """An operation whose result at a position depends on its inputs at that position alone."""

    def axes(self, node: fx.Node, values: Values) -> Axes:
        """See `Rule`."""
        shape = values.shape(node)
        found = {values.axes(each) for each in node.all_input_nodes if values.shape(each) == shape}
        (axes,) = found if len(found) == 1 else {CHANNELS_FIRST}
        return axes or CHANNELS_FIRST

    def answers_even(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        return _fits(node, values)

    def asks(self, node: fx.Node, question: Question, values: Values) -> Asked:
        """See `Rule`."""
        maps = set(_maps(node, values)) if question is Question.EVEN else set()
        for source in node.all_input_nodes:
            yield source, Question.EVEN if source in maps else Question.FULL

    def build(self, node: fx.Node, question: Question, builder: Builder) -> fx.Node:
        """See `Rule`."""
        maps = set(_maps(node, builder.values)) if question is Question.EVEN else set()
        return builder.copy(node, lambda x: builder.even(x) if x in maps else builder.full(x))

    def size(self, node: fx.Node, builder: Builder) -> Any:
        """See `Rule`."""
        return builder.size(next(_maps(node, builder.values)))


class Affine(Pointwise):
    """A pointwise operation that keeps means: interpolated inputs give an interpolated result.

    It is so if the result is an affine function of its maps, the same at every position.
    """

    def is_interpolated(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        return _fits(node, values) and values.interpolated.issuperset(_maps(node, values))


@rule(
    torch.add, operator.add, torch.sub, operator.sub, "add", "sub", torch.neg, operator.neg, "neg"
)
class Sum(Affine):
    """A sum of maps, of numbers, of values per channel."""


@rule(torch.mul, operator.mul, "mul", torch.div, operator.truediv, "div")
class Product(Affine):
    """A product: affine if only one factor is a map, and the numerator."""

    def is_interpolated(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        maps = list(_maps(node, values))
        is_division = node.target in (torch.div, operator.truediv, "div")
        return (
            len(maps) == 1
            and "rounding_mode" not in node.kwargs
            and list(node.args).count(maps[0]) == 1
            and (not is_division or node.args[0] is maps[0])
            and super().is_interpolated(node, values)
        )


@rule(nn.BatchNorm2d, functional.batch_norm)
class BatchNorm(Affine):
    """Batch normalisation: affine in eval; in training its statistics are the full map's."""

    def answers_even(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        # Its channels are the second axis, and its other arguments have a value for each.
        is_map = values.size(node) is not None
        beside = node.all_input_nodes[1:]
        are_of_channels = all(len(values.shape(each) or ()) == 1 for each in beside)
        return is_map and _is_frozen(node, values) and are_of_channels

    def is_interpolated(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        maps = _maps(node, values)
        return self.answers_even(node, values) and values.interpolated.issuperset(maps)


class Dropout(Affine):
    """Dropout: nothing in eval; in training another draw for every element."""

    def answers_even(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        return not values.training and super().answers_even(node, values)

    def is_interpolated(self, node: fx.Node, values: Values) -> bool:
        """See `Rule`."""
        return not values.training and super().is_interpolated(node, values)


_POINTWISE, _DROPOUT = Pointwise(), Dropout()
_PER_POSITION_MODULES = ("LayerNorm2d", "LayerNormAct2d", "LayerNorm2dFp32")


@rule(torch.abs, torch.exp, torch.sqrt, "abs", "exp", "sqrt", torch.maximum, torch.minimum)
class Elementwise(Pointwise):
    """Functions of each element that are no activations."""


@rule(nn.Identity, "contiguous", torch.clone, "clone")
class Same(Affine):
    """The value itself."""


@fallback
def _by_kind(node: fx.Node, values: Values) -> Rule | None:
    """Activations of any spelling, dropout, and modules of libraries that are known by name."""
    module = values.submodule(node)
    if module is not None and not _is_pointwise(module, node, values):
        return None
    if module is not None and has_hooks_inside(module):
        is_by_position = module_kind(module) in ("activation", "norm", "pass")
        return _POINTWISE if is_by_position and not values.training else None
    name = type(module).__name__
    if name in _PER_POSITION_MODULES:
        return _POINTWISE
    if module is not None and is_dropout_of_images(module):
        return _DROPOUT
    kind = kind_of(node, values.module)
    if kind == "pass":
        return _DROPOUT if module is not None or _is_off(node) else None
    if kind != "activation" or isinstance(module, nn.RReLU):
        return None
    has_weights = module is not None and next(module.parameters(), None) is not None
    if _is_permuted(node, values) and (has_weights or len(node.all_input_nodes) > 1):
        return None  # each weight is for a channel, and those are the second axis
    # Some modules normalise before the activation; they measure full maps on the way.
    normalises = module is not None and next(module.buffers(), None) is not None
    is_batch_norm = isinstance(module, BATCH_NORM) and not values.training
    return _POINTWISE if is_batch_norm or not normalises else None


def _is_pointwise(module: nn.Module, node: fx.Node, values: Values) -> bool:
    """Whether a module may be of the kind that its name says: others than PyTorch's own are tried.

    So are those with hooks, which may do anything to a map.
    """
    is_known = type(module).__module__.startswith("torch.nn.") and "forward" not in vars(module)
    if is_known and not has_hooks_inside(module):
        return True
    source = next(iter(node.all_input_nodes), None)
    shape, axes = values.shape(source), values.axes(source)
    if shape is None or axes is None:
        return False
    return values.once((module, axes), lambda: _keeps_positions(module, shape, axes))


def _keeps_positions(module: nn.Module, shape: Shape, axes: Axes) -> bool:
    lengths = {0: 2, axes[0]: 5, axes[1]: 6}
    small = [lengths.get(axis, length) for axis, length in enumerate(shape)]
    map = for_model(torch.randn(small, generator=torch.Generator().manual_seed(0)), module)
    try:
        with state_kept(module):
            full, even = module(map.clone()), module(even_positions(map, axes).clone())
    except Exception:
        return False
    if not isinstance(full, Tensor) or full.shape != map.shape:
        return False
    return torch.allclose(even_positions(full, axes), even, 1e-2, 1e-3) and gradients_agree(
        module, map, module, even_positions(map, axes), lambda x: even_positions(x, axes)
    )


def _is_permuted(node: fx.Node, values: Values) -> bool:
    return any(source in values.permuted for source in node.all_input_nodes)


def _is_off(dropout: fx.Node) -> bool:
    """Whether a function has been told to drop nothing."""
    given = arguments_of(dropout, ("input", "p", "train"))
    return given.get("training", given.get("train")) is False


def _is_frozen(node: fx.Node, values: Values) -> bool:
    module = values.submodule(node)
    if isinstance(module, nn.BatchNorm2d):
        # In a training graph it may be in either mode when it runs.
        return module.running_mean is not None and not values.training
    names = ("input", "running_mean", "running_var", "weight", "bias", "training")
    given = arguments_of(node, names)
    return not values.training and given.get("training", False) is False


def _fits(node: fx.Node, values: Values) -> bool:
    """Whether it takes maps of its result's size, and else only values without positions."""
    axes, size = values.axes(node), values.grid(node)
    maps = list(_maps(node, values))
    if axes is None or not maps:
        return False
    if any((values.axes(each), values.grid(each)) != (axes, size) for each in maps):
        return False
    others = [source for source in node.all_input_nodes if source not in maps]
    return all(
        values.parts(other) is None and _has_no_positions(other, axes, values) for other in others
    )


def _has_no_positions(value: fx.Node, axes: Axes, values: Values) -> bool:
    """Whether a value that is broadcast to a map is the same at each of its positions."""
    shape = values.shape(value)
    return shape is None or all(shape[axis - 4] == 1 for axis in axes if len(shape) >= 4 - axis)


def _maps(node: fx.Node, values: Values) -> Iterator[fx.Node]:
    """The inputs with positions: not the ones with one value per channel."""
    axes, size = values.axes(node) or CHANNELS_FIRST, values.grid(node)
    for source in node.all_input_nodes:
        own = values.grid(source)
        if own is not None and not (_has_no_positions(source, axes, values) and size != own):
            yield source
