"""Which modules to rewrite: for each site the innermost one in whose code all of it happens.

So a submodule that is called by itself (`model.features(images)`, or by a method of the user's
class) recovers its maps as well, and hooks on the modules around it are called as before.
"""

import copy
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from torch import Tensor, fx, nn

from virtualpool.graph.inputs import Call
from virtualpool.graph.parts import Part, part_of
from virtualpool.graph.placement import placement
from virtualpool.graph.sums import activated_sums, sum_of
from virtualpool.plan import Follows, RecoveredSum
from virtualpool.torch_private import CONSTANT, calls_around


@dataclass(frozen=True)
class OwnSum:
    """An activated sum in a module's own code.

    Attributes:
        whole: the part of the model that it was found in.
        module: the name of the innermost module in whose code it is.
        index: its number among the activated sums in that code.
        numbers: its number among the part's, in each call of the module.
    """

    whole: Part
    module: str
    index: int
    numbers: tuple[int, ...]

    @property
    def recovered(self) -> list[RecoveredSum]:
        """The plan's names for it."""
        return [RecoveredSum(self.whole.name, number) for number in self.numbers]


def own_sums(part: Part) -> list[OwnSum]:
    """The activated sums of a part, by the modules in whose code they are.

    One that another module activates than the one in which it is made, as a norm with an activation
    at the beginning of the next block does, is in the code of neither.
    """
    found: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, activation in enumerate(activated_sums(part.evaluation, part.module)):
        around = _calls_around(activation)
        if _calls_around(sum_of(activation))[: len(around)] != around:
            continue
        call, module = [("", ""), *around][-1]
        found[part.full_name(module)][call].append(number)
    return [
        OwnSum(part, module, index, numbers)
        for module, of_calls in found.items()
        if len({len(numbers) for numbers in of_calls.values()}) == 1
        for index, numbers in enumerate(zip(*of_calls.values(), strict=True))
    ]


def is_in_own_code(node: fx.Node) -> bool:
    """Whether a node of a part's graph is in the code of its module, not of a submodule."""
    return not _calls_around(node)


def innermost_parts(
    model: nn.Module,
    parts: dict[str, Part],
    received: dict[str, Call],
    sums: Collection[OwnSum] = (),
) -> Iterator[tuple[Part, list[str], list[OwnSum]]]:
    """The parts to rewrite, inner ones first, each with the names of its sites, and its sums.

    A part that is inside of another, or has others inside, is traced when it is asked for: so an
    outer one has in its graphs the inner ones rewritten by then.

    Args:
        model: a copy of the model that was traced, while it is evaluated (`running.evaluating`).
        parts: of each site, the part that it was found in.
        received: the arguments of each submodule (`trace.calls`).
        sums: activated sums in modules; those in a module that cannot be a part are left out.
    """
    owners = {name: _owners(part, name) for name, part in parts.items()}
    rewritten: list[Part] = []
    while owners or sums:
        around = [each[-1] for each in owners.values()] + [each.module for each in sums]
        owner = max(around, key=_depth)
        names = [name for name, candidates in owners.items() if candidates[-1] == owner]
        inside = [each for each in sums if each.module == owner]
        sums = [each for each in sums if each.module != owner]
        whole = parts[names[0]] if names else inside[0].whole
        is_whole = owner == whole.name and not any(whole.contains(each.name) for each in rewritten)
        part = _again(whole, model.get_submodule(owner)) if is_whole else None
        part = part or _narrowed(whole, owner, names, model, received)
        if part is None:
            for name in names:
                owners[name].pop()
            continue
        rewritten.append(part)
        yield part, names, inside
        for name in names:
            del owners[name]


def _owners(part: Part, name: str) -> list[str]:
    """The modules in whose code all of a site happens, from the part's own to the innermost."""
    around = [
        [module for _, module in _calls_around(node)]
        for graph in (part.evaluation, part.training)
        for convolution in part.calls(graph, name)
        for node in (convolution, placement(convolution, part.module)[0])
    ]
    shared = [modules[0] for modules in zip(*around, strict=False) if len(set(modules)) == 1]
    return [part.name, *map(part.full_name, shared)]


def _calls_around(node: fx.Node) -> list[tuple[str, str]]:
    """The calls in whose code a node is, from the outside in, each with its module."""
    found = calls_around(node)
    return found[:-1] if node.op == "call_module" else found


def _again(whole: Part, module: nn.Module) -> Part | None:
    """A part for a copy of its module; None where its graphs read tensors that tracing left there.

    To trace the copy would give the same, and takes as long as the first time.
    """
    graphs = whole.evaluation, whole.training
    read = [node for graph in graphs for node in graph.find_nodes(op="get_attr")]
    if any(str(node.target).startswith(CONSTANT) for node in read):
        return None
    evaluation, training = (copy.deepcopy(graph) for graph in graphs)
    return Part(whole.name, module, evaluation, training, whole.opaque)


def _narrowed(
    whole: Part, owner: str, names: list[str], model: nn.Module, received: dict[str, Call]
) -> Part | None:
    """A part for one of the modules in another part; None where that would not be the same."""
    module = model.get_submodule(owner)
    inner = owner.removeprefix(whole.name).removeprefix(".")
    prefix = inner and inner + "."
    opaque = {name.removeprefix(prefix) for name in whole.opaque if name.startswith(prefix)}
    if owner == whole.name:
        return part_of(owner, module, received[owner], frozenset(opaque))
    if "forward" in vars(module) or not _is_plain(received.get(owner)):
        return None
    try:
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
