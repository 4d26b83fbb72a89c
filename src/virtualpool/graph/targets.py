"""Which modules to rewrite: for each site the innermost one in whose code all of it happens.

So a submodule that is called by itself (`model.features(images)`, or by a method of the user's
class) recovers its maps as well, and hooks on the modules around it are called as before.
"""

from collections.abc import Iterator

from torch import Tensor, fx, nn

from virtualpool.graph.inputs import Call
from virtualpool.graph.parts import Part, part_of
from virtualpool.graph.placement import placement
from virtualpool.graph.running import evaluating
from virtualpool.plan import Follows
from virtualpool.torch_private import modules_around


def innermost_parts(
    model: nn.Module, parts: dict[str, Part], received: dict[str, Call]
) -> Iterator[tuple[Part, list[str]]]:
    """The parts to rewrite, inner ones first, each with the names of its sites.

    A part is traced when it is asked for, so an outer one has in its graphs the inner ones
    rewritten by then.

    Args:
        model: a copy of the model that was traced.
        parts: of each site, the part that it was found in.
        received: the arguments of each submodule (`trace.calls`).
    """
    owners = {name: _owners(part, name) for name, part in parts.items()}
    while owners:
        owner = max((candidates[-1] for candidates in owners.values()), key=_depth)
        names = [name for name, candidates in owners.items() if candidates[-1] == owner]
        part = _narrowed(parts[names[0]], owner, names, model, received)
        if part is None:
            for name in names:
                owners[name].pop()
            continue
        yield part, names
        for name in names:
            del owners[name]


def _owners(part: Part, name: str) -> list[str]:
    """The modules in whose code all of a site happens, from the part's own to the innermost."""
    around = [
        _modules_around(node)
        for graph in (part.evaluation, part.training)
        for convolution in part.calls(graph, name)
        for node in (convolution, placement(convolution, part.module)[0])
    ]
    shared = [modules[0] for modules in zip(*around, strict=False) if len(set(modules)) == 1]
    return [part.name, *map(part.full_name, shared)]


def _modules_around(node: fx.Node) -> list[str]:
    """The modules that are being called where a node is, from the outside in."""
    modules = modules_around(node)
    return modules[:-1] if node.op == "call_module" else modules


def _narrowed(
    whole: Part, owner: str, names: list[str], model: nn.Module, received: dict[str, Call]
) -> Part | None:
    """A part for one of the modules in another part; None where that would not be the same."""
    module = model.get_submodule(owner)
    inner = owner.removeprefix(whole.name).removeprefix(".")
    prefix = inner and inner + "."
    opaque = {name.removeprefix(prefix) for name in whole.opaque if name.startswith(prefix)}
    if owner == whole.name:
        with evaluating(model):
            return part_of(owner, module, received[owner], frozenset(opaque))
    if "forward" in vars(module) or not _is_plain(received.get(owner)):
        return None
    try:
        with evaluating(model):
            part = part_of(owner, module, received[owner], frozenset(opaque))
    except Exception:
        return None
    is_same = all(_follows(part, name) == _follows(whole, name) for name in names)
    return part if is_same else None


def _is_plain(call: Call | None) -> bool:
    # A number can come from the size of a map, and a part by itself would hold it fixed.
    return call is not None and all(
        value is None or isinstance(value, Tensor | bool | str)
        for value in [*call[0], *call[1].values()]
    )


def _follows(part: Part, name: str) -> set[Follows]:
    graphs = (part.evaluation, part.training)
    nodes = [node for graph in graphs for node in part.calls(graph, name)]
    return {placement(node, part.module)[1] for node in nodes}


def _depth(name: str) -> int:
    return len(name.split(".")) if name else 0
