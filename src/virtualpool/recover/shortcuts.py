"""The other summand of a sum that a layer ends in, as a residual block's shortcut.

A pooled network's shortcut differs from the original's, and no layer on it can mend that. So the
layer beside it is solved for the original's sum, not for its own map alone.
"""

from collections.abc import Container
from dataclasses import dataclass

from torch import Tensor, fx

from virtualpool.graph.operations import is_dropout_of_images, kind_of
from virtualpool.graph.parts import Part
from virtualpool.graph.placement import input_of
from virtualpool.graph.sums import summands
from virtualpool.operator.pool import virtual_pool


@dataclass(frozen=True)
class Shortcut:
    """Where a summand is seen in a forward, before the layer beside it is called.

    Attributes:
        module: the qualified name of a module that is called once.
        is_read: whether the module reads the summand; else it gives it.
    """

    module: str
    is_read: bool


def shortcut_beside(
    node: fx.Node, end: fx.Node, part: Part, are_single: Container[str]
) -> Shortcut | None:
    """The shortcut beside a layer; None where no sum follows, or its other summand is not seen.

    Args:
        node: the call of the layer.
        end: the layer's normalisation, or the same node.
        part: the part of the model that calls it.
        are_single: the names of layers that are called once.
    """
    added = _added_to(end, part)
    if added is None:
        return None
    order = {each: place for place, each in enumerate(part.evaluation.nodes)}
    for user in added.users:
        name = part.full_name(user.target) if user.op == "call_module" else ""
        if order[user] < order[node] and name in are_single and input_of(user) is added:
            return Shortcut(name, is_read=True)
    if added.op == "call_module" and order[added] < order[node]:
        name = part.full_name(added.target)
        if len(part.calls(part.evaluation, name)) == 1:
            return Shortcut(name, is_read=False)
    return None


def drift(pooled: Tensor, original: Tensor) -> Tensor | None:
    """By how much the original's summand is more than the pooled model's; None if they differ.

    Args:
        pooled: of the pooled model; a reduced map is recovered.
        original: of the original.

    >>> import torch
    >>> drift(torch.ones(1, 1, 2, 2), torch.full((1, 1, 4, 4), 3.0)).unique()
    tensor([2.])
    """
    if pooled.ndim == 4 and pooled.shape[-2:] != original.shape[-2:]:
        height, width = original.shape[-2:]
        if pooled.shape[-2:] != (-(-height // 2), -(-width // 2)):
            return None
        pooled = virtual_pool(pooled, (height, width))
    return original - pooled if original.shape == pooled.shape else None


def _added_to(node: fx.Node, part: Part) -> fx.Node | None:
    """The value that is added to a map which nothing else reads."""
    users = [*node.users]
    while len(users) == 1 and _gives_its_map(users[0], part):
        node, users = users[0], [*users[0].users]
    if len(users) != 1:
        return None
    others = [each for each in summands(users[0]) if each is not node]
    return others[0] if others else None


def _gives_its_map(node: fx.Node, part: Part) -> bool:
    """Whether a node does nothing in eval mode."""
    if node.op == "call_module" and is_dropout_of_images(
        part.module.get_submodule(str(node.target))
    ):
        return True
    return kind_of(node, part.module) == "pass"
