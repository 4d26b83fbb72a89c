"""Where in a graph a site's map is recovered."""

from typing import Any

from torch import fx, nn

from virtualpool.graph.operations import Kind, kind_of
from virtualpool.operator.pool import virtual_pool
from virtualpool.plan import Follows


def placement(convolution: fx.Node, module: nn.Module) -> tuple[fx.Node, Follows]:
    """The node before the virtual pool, and its kind.

    It is the activation that follows the convolution (paper, section 3.2), with or without a
    normalisation between; where none follows directly, the normalisation, else the convolution.
    Modules that give their map back in eval mode (`nn.Identity`, dropout) may be between these.

    Args:
        convolution: the node that calls the convolution.
        module: the graph was traced from it.
    """
    end, follows = convolution, "conv"
    following = next_operation(end, module)
    if following is not None and kind_alone(following, module) == "norm":
        end, follows = following, "norm"
        following = next_operation(end, module)
    if following is not None and kind_alone(following, module) == "activation":
        return following, "activation"
    return end, follows


def decided_by(convolution: fx.Node, module: nn.Module) -> list[nn.Module]:
    """The modules whose kind decides where the virtual pool of a convolution goes.

    Args:
        convolution: the node that calls the convolution.
        module: the graph was traced from it.
    """
    found: list[nn.Module] = []
    node = next_operation(convolution, module)
    while node is not None and node.op == "call_module" and len(found) < 2:
        found.append(module.get_submodule(str(node.target)))
        node = next_operation(node, module) if kind_alone(node, module) == "norm" else None
    return found


def is_before_pool(convolution: fx.Node, module: nn.Module) -> bool:
    """Whether a pooling layer is the first that sees the recovered map."""
    following = next_operation(placement(convolution, module)[0], module)
    while following is not None and following.target is virtual_pool:
        following = next_operation(following, module)
    return following is not None and kind_of(following, module) == "pool"


def input_of(node: fx.Node) -> fx.Node:
    """The map that a node works on.

    >>> graph = fx.symbolic_trace(nn.Sequential(nn.Conv2d(3, 8, 1))).graph
    >>> input_of(next(iter(graph.find_nodes(op="call_module", target="0"))))
    input_1
    """
    return node.args[0] if node.args else node.kwargs["input"]  # pyright: ignore[reportReturnType]


def first_of(node: fx.Node) -> Any:
    """The first argument of an operation, with or without a keyword."""
    return next(iter([*node.args, *node.kwargs.values()]), None)


def kind_alone(node: fx.Node, module: nn.Module) -> Kind:
    """A node's effect on a map, if it reads no other map: another would keep its size."""
    maps = [each for each in node.all_input_nodes if each.op != "get_attr"]
    return kind_of(node, module) if len(maps) == 1 else "other"


def next_operation(node: fx.Node, module: nn.Module) -> fx.Node | None:
    """The only next user of a map that does something to it in eval mode."""
    user = _only_user(node)
    while user is not None and kind_of(user, module) == "pass":
        user = _only_user(user)
    return user


def _only_user(node: fx.Node) -> fx.Node | None:
    if len(node.users) != 1:
        return None
    (user,) = node.users
    # As an index or a weight it would be used too, but not as the map.
    is_map = user.op != "output" and first_of(user) is node
    return user if is_map else None
