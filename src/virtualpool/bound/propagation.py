"""From the error of one value of a graph to the largest error of every value after it."""

from collections.abc import Mapping

from torch import Tensor, fx

import virtualpool.bound.rules  # noqa: F401  (registers them)
from virtualpool.bound.errors import ErrorSize, side_by_side
from virtualpool.bound.rule import Errors, Operation, UnboundedError, passed_on
from virtualpool.errors import VirtualPoolError
from virtualpool.torch_private import modules_around

Operations = Mapping[fx.Node, Operation]
Errored = dict[fx.Node, ErrorSize]


def propagate(
    operations: Operations,
    site: str,
    start: fx.Node,
    error: ErrorSize,
    measured: Mapping[fx.Node, Tensor],
) -> Errored:
    """The error that every value of a graph can have, given the error of one of them.

    Args:
        operations: of the graph, in their order.
        site: the name of the site that causes the error.
        start: the node whose value has the error.
        error: its largest size.
        measured: of the nodes whose error is known, its norm in each image.

    Raises:
        VirtualPoolError: the error comes to an operation without a known bound.
    """
    found: Errored = {start: error}
    for node, operation in operations.items():
        errors = [(source, found[source]) for source in operation.sources if source in found]
        if node is start or not errors or operation.gives_size:
            continue
        try:
            found[node] = _passed_on(operation, errors)
        except UnboundedError as reason:
            raise VirtualPoolError(
                f"{site}: its error comes to {_described(operation)}, and nothing is known to "
                f"limit it from there: {reason}. Give the part before it as a model, or "
                "register a rule (virtualpool.bound.gain_of)."
            ) from reason
        if node in measured:
            found[node] = ErrorSize(found[node].largest, measured[node])
    return found


def followed(operations: Operations, start: fx.Node) -> list[fx.Node]:
    """The nodes up to which the error of `start` passes no weights, in their order."""
    affected, before_weights = {start}, [start]
    for node, operation in operations.items():
        changed = affected.intersection(operation.sources)
        if not changed:
            continue
        affected.add(node)
        if changed <= set(before_weights) and node.op != "output" and not operation.has_weights:
            before_weights.append(node)
    return before_weights


def _passed_on(operation: Operation, errors: Errors) -> ErrorSize:
    if operation.node.op == "output":
        return side_by_side([error for _, error in errors])
    return passed_on(operation, errors)


def _described(operation: Operation) -> str:
    if operation.module is not None:
        return f"{operation.name} (a {type(operation.module).__name__})"
    around = modules_around(operation.node)
    place = f" in {around[-1]}" if around and around[-1] else ""
    return f"{operation.name}{place}"
