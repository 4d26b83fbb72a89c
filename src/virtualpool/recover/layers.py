"""The layers that reconstruction solves, and the code that follows each of them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, fx, nn

from virtualpool.graph.operations import is_frozen_batch_norm, runs_forward_of
from virtualpool.graph.parts import Part, trace
from virtualpool.graph.placement import placement
from virtualpool.graph.state import copy_of
from virtualpool.plan import plan_of
from virtualpool.recover.site_maps import activation_of


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
    """

    name: str
    module: Any
    calls: int
    is_site: bool
    norm: Any = None
    after: Callable[[Tensor], Tensor] = field(default=lambda x: x)
    after_original: Callable[[Tensor], Tensor] = field(default=lambda x: x)

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

    def set(self, weight: Tensor, shift: Tensor) -> None:
        """Takes weights and what is added to the output; a layer without bias tells its norm."""
        self.module.weight.data.copy_(weight.reshape(self.module.weight.shape))
        if self.module.bias is not None:
            self.module.bias.data.copy_(shift.flatten())
        elif self.norm is not None:
            self.norm.running_mean.sub_(shift.flatten().to(self.norm.running_mean))

    def state(self) -> list[Tensor]:
        """A copy of all that `set` changes."""
        return [each.clone() for each in self._changed()]

    def restore(self, state: list[Tensor]) -> None:
        """Takes back what `set` has changed."""
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
        largest: bytes of what a layer reads and gives, of the layer with the most.
    """

    calls: list[str]
    largest: int


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

    def note(name: str, read: Any, out: Tensor) -> None:
        calls.append(name)
        sizes.append(sum(each.numel() * each.element_size() for each in (read[0], out)))

    handles = [
        module.register_forward_hook(lambda _, read, out, name=name: note(name, read, out))
        for name, module in model.named_modules()
        if is_solvable(module)
    ]
    try:
        call()
    finally:
        for handle in handles:
            handle.remove()
    return Order(calls, max(sizes, default=1))


def layers_of(
    solved: nn.Module, original: nn.Module, images: Any, order: Order
) -> dict[str, Layer]:
    """The layers of a pooled model that are to be solved, by name, in the order of execution.

    Args:
        solved: the pooled model, in eval mode.
        original: the unmodified model, in eval mode.
        images: an example of what both take.
        order: the calls of layers.
    """
    names, calls = set(plan_of(solved).names), Counter(order.calls)
    shared = Counter(
        id(its) for module in solved.modules() for its in module.parameters(recurse=False)
    )
    layers = {
        name: Layer(name, solved.get_submodule(name), calls[name], name in names)
        for name in dict.fromkeys(order.calls)
        if shared[id(solved.get_submodule(name).weight)] == 1
    }
    for part in trace(copy_of(original), images).parts:
        for name, layer in layers.items():
            for node in part.calls(part.evaluation, name):
                _look_behind(layer, node, part, solved, original)
    return layers


def _look_behind(
    layer: Layer, node: fx.Node, part: Part, solved: nn.Module, original: nn.Module
) -> None:
    """Finds the batch norm and the activation behind one call of a layer."""
    end, _ = placement(node, part.module)
    last, norm = node, None
    if (name := _batch_norm_behind(node, part)) is not None:
        (last,) = node.users
        layer.norm, norm = solved.get_submodule(name), original.get_submodule(name)
    is_activated = end is not last and end.all_input_nodes == [last]
    activation = activation_of(part, end) if is_activated else None

    def behind(model: nn.Module, norm: nn.Module | None) -> Callable[[Tensor], Tensor]:
        def after(x: Tensor) -> Tensor:
            x = x if norm is None else norm(x)
            return x if activation is None else activation(model, x)

        return after

    layer.after, layer.after_original = behind(solved, layer.norm), behind(original, norm)


def _batch_norm_behind(node: fx.Node, part: Part) -> str | None:
    if len(node.users) != 1:
        return None
    (user,) = node.users
    if user.op != "call_module":
        return None
    is_norm = is_frozen_batch_norm(part.module.get_submodule(str(user.target)))
    return part.full_name(user.target) if is_norm else None
