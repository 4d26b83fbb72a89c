"""The layers that reconstruction solves, and the code that follows each of them."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, fx, nn

from virtualpool.graph.channels import numbers_of_channels
from virtualpool.graph.forward import original_class
from virtualpool.graph.geometry import size_arguments
from virtualpool.graph.inputs import tensors
from virtualpool.graph.operations import is_frozen_batch_norm, runs_forward_of
from virtualpool.graph.parts import Part, trace
from virtualpool.graph.placement import placement
from virtualpool.graph.random_numbers import are_drawn_since, states
from virtualpool.graph.state import copy_of
from virtualpool.operator.pool import output_size
from virtualpool.plan import plan_of
from virtualpool.recover.forwards import read_by
from virtualpool.recover.memories import Memories
from virtualpool.recover.selections import Selections
from virtualpool.recover.shortcuts import Shortcut, shortcut_beside
from virtualpool.recover.site_maps import activation_of
from virtualpool.torch_private import CONVOLUTION

_SMALL = 1e-3


@dataclass
class Layer:
    """A convolution or linear layer of a pooled model.

    Attributes:
        name: its qualified name.
        module: the layer.
        calls: how often a forward calls it.
        is_site: whether it is pooled.
        norm: the batch norm behind it, which takes the shift of a layer without bias.
        after: its normalisation and activation.
        after_original: the same of the original.
        shortcut: the other summand of a sum behind it.
        scale: of each channel on the way to that sum, by the norm.
    """

    name: str
    module: Any
    calls: int
    is_site: bool
    norm: Any = None
    after: Callable[[Tensor], Tensor] = field(default=lambda x: x)
    after_original: Callable[[Tensor], Tensor] = field(default=lambda x: x)
    shortcut: Shortcut | None = None
    scale: Tensor | None = None

    @property
    def groups(self) -> int:
        """Parts of the layer that share no input."""
        return getattr(self.module, "groups", 1)

    @property
    def weight(self) -> Tensor:
        """Its weights, (groups, outputs of a group, weights of an output)."""
        weight = self.module.weight.detach()
        return weight.reshape(self.groups, len(weight) // self.groups, -1)

    @property
    def takes_shift(self) -> bool:
        """Whether something can be added to its output."""
        return self.module.bias is not None or self.norm is not None

    def target(self, output: Tensor, drift: Tensor | None) -> Tensor:
        """The output that it should have: the original's, and what its sum's shortcut lacks.

        Args:
            output: the original's.
            drift: the original's shortcut less the pooled model's.
        """
        if drift is None or drift.shape != output.shape:
            return output
        if self.scale is None:
            return output + drift
        scale = self.scale.to(drift).view(-1, *[1] * (drift.ndim - 2))
        # A channel that the norm all but leaves out cannot mend the sum.
        return output + (drift / scale).masked_fill(scale.abs() < _SMALL, 0.0)

    def size_for(self, x: Tensor) -> tuple[int, int]:
        """The size of a convolution's output for an input (N, C, H, W)."""
        return output_size(x, *size_arguments(self.module))

    def set(self, weight: Tensor, shift: Tensor) -> None:
        """Takes weights and the shift of the output; a layer without bias tells its norm."""
        self.module.weight.data.copy_(weight.reshape(self.module.weight.shape))
        if self.module.bias is not None:
            self.module.bias.data.copy_(shift.flatten())
        elif self.norm is not None:
            self.norm.running_mean.sub_(shift.flatten().to(self.norm.running_mean))

    def state(self) -> list[Tensor]:
        """A copy of all that `set` changes."""
        return [each.clone() for each in self._changed()]

    def restore(self, state: list[Tensor]) -> None:
        """Takes back the changes by `set`."""
        for each, before in zip(self._changed(), state, strict=True):
            each.copy_(before)

    def _changed(self) -> list[Tensor]:
        its = [self.module.weight, self.module.bias, self.norm and self.norm.running_mean]
        return [each.data for each in its if each is not None]


@dataclass(frozen=True)
class Order:
    """The calls of layers in a forward.

    Attributes:
        calls: the names of the layers, in the order of their calls.
        held: bytes that a forward holds while a layer is called, of the call with the most.
        selected: the layers that read values selected by value, such as the best boxes.
        draws: whether the forward draws random numbers.
        heads: where outputs are selected by value, the layers that give the candidates.
    """

    calls: list[str]
    held: int
    selected: set[str]
    draws: bool
    heads: list[str]


def is_solvable(module: nn.Module) -> bool:
    """Whether a module is a plain convolution or linear layer with weights of its own."""
    is_kind = any(
        isinstance(module, kind) and runs_forward_of(module, kind)
        for kind in (nn.Conv2d, nn.Linear)
    )
    return is_kind and "weight" in dict(module.named_parameters(recurse=False))


def call_order(model: nn.Module, call: Callable[[], Any]) -> Order:
    """The layers that a call of a model reaches, in the order of their calls."""
    calls: list[str] = []
    sizes: list[int] = []
    selected: set[str] = set()
    memories, selections = Memories(), Selections()

    def note(name: str, read: Tensor, out: Tensor) -> None:
        calls.append(name)
        sizes.append(memories.size)
        if selections.has_made(read):
            selected.add(name)
        selections.called(name, read, out)

    handles = [
        module.register_forward_hook(
            lambda _, given, named, out, name=name: note(name, read_by(given, named), out),
            with_kwargs=True,
        )
        for name, module in model.named_modules()
        if is_solvable(module)
    ]
    before = states()
    try:
        with memories, selections:
            outputs = tensors(call())
    finally:
        for handle in handles:
            handle.remove()
    heads = []
    if any(map(selections.has_made, outputs)):
        heads = selections.are_last(name for name in dict.fromkeys(calls) if name not in selected)
    return Order(calls, max(sizes, default=1), selected, are_drawn_since(before), heads)


def unsolvable(model: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """Of all layers with weights that a model has, why reconstruction leaves some as they are.

    Args:
        model: the pooled model.
        names: of the layers that a forward reaches.
    """
    reached, users = set(names), _users_of_weights(model)
    reasons: dict[str, str] = {}
    for name, module in model.named_modules():
        if not isinstance(module, (nn.Linear, CONVOLUTION)):
            continue
        if not is_solvable(module):
            kind = original_class(module).__name__
            reasons[name] = f"it is no plain convolution or linear layer but a {kind}"
        elif name not in reached:
            reasons[name] = "the first batch does not reach it"
        elif users[id(module.weight)] > 1:
            reasons[name] = "it shares its weight"
    return reasons


def layers_of(
    solved: nn.Module, original: nn.Module, images: Any, order: Order
) -> dict[str, Layer]:
    """The layers of a pooled model that are to be solved, by name, in the order of execution.

    Args:
        solved: the pooled model, in eval mode.
        original: the unmodified model, in eval mode.
        images: an example of both models' inputs.
        order: the calls of layers.
    """
    sites, calls, users = (
        set(plan_of(solved).names),
        Counter(order.calls),
        _users_of_weights(solved),
    )
    layers = {
        name: Layer(name, solved.get_submodule(name), calls[name], name in sites)
        for name in dict.fromkeys(order.calls)
        if users[id(solved.get_submodule(name).weight)] == 1
    }
    are_single = {name for name, number in calls.items() if number == 1}
    for part in trace(copy_of(original), images).parts:
        for name, layer in layers.items():
            nodes = part.calls(part.evaluation, name)
            # An operation that follows one call alone is neither solved behind nor judged behind.
            if len({_names_behind(node, part) for node in nodes}) == 1:
                _look_behind(layer, nodes, part, solved, original, are_single)
    return layers


def _users_of_weights(model: nn.Module) -> Counter[int]:
    """How many modules have each parameter."""
    return Counter(id(its) for each in model.modules() for its in each.parameters(recurse=False))


def _names_behind(node: fx.Node, part: Part) -> tuple[str | None, ...]:
    """The norm and the activation behind a call, to compare calls by."""
    norm, activation = _behind(node, part)
    if activation is None:
        return norm, None
    return norm, str(activation.target), str(activation.args[1:]), str(activation.kwargs)


def _behind(node: fx.Node, part: Part) -> tuple[str | None, fx.Node | None]:
    """The batch norm and the activation behind a call of a layer."""
    end, _ = placement(node, part.module)
    norm, last = _batch_norm_behind(node, part), node
    if norm is not None:
        (last,) = node.users
    is_activated = end is not last and end.all_input_nodes == [last]
    return norm, end if is_activated else None


def _look_behind(
    layer: Layer,
    nodes: list[fx.Node],
    part: Part,
    solved: nn.Module,
    original: nn.Module,
    are_single: set[str],
) -> None:
    """Finds the operations that follow all calls of a layer."""
    name, end = _behind(nodes[0], part)
    norm = None
    if name is not None:
        if len(part.calls(part.evaluation, name)) != len(nodes):
            return  # a norm of other layers too, which takes no shift of one
        layer.norm, norm = solved.get_submodule(name), original.get_submodule(name)
    if end is None and len(nodes) == 1:
        _look_beside(layer, nodes[0], norm, part, are_single)
    activation = None if end is None else activation_of(part, end)

    def behind(model: nn.Module, norm: nn.Module | None) -> Callable[[Tensor], Tensor]:
        def after(x: Tensor) -> Tensor:
            x = x if norm is None else norm(x)
            return x if activation is None else activation(model, x)

        return after

    layer.after, layer.after_original = behind(solved, layer.norm), behind(original, norm)


def _look_beside(layer: Layer, node: fx.Node, norm: Any, part: Part, are_single: set[str]) -> None:
    """Finds the shortcut of a layer whose map, normalised or not, is a summand."""
    if norm is None:
        layer.shortcut = shortcut_beside(node, node, part, are_single)
        return
    (end,) = node.users
    if (numbers := numbers_of_channels(norm, norm.running_mean)) is not None:
        layer.shortcut = shortcut_beside(node, end, part, are_single)
        layer.scale = numbers[0]


def _batch_norm_behind(node: fx.Node, part: Part) -> str | None:
    if len(node.users) != 1:
        return None
    (user,) = node.users
    if user.op != "call_module":
        return None
    is_norm = is_frozen_batch_norm(part.module.get_submodule(str(user.target)))
    return part.full_name(user.target) if is_norm else None
