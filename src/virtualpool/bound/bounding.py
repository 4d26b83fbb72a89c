"""`error_bound`: the paper's Proposition 1, a tighter bound, and the error that there is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from virtualpool.bound.errors import ErrorSize
from virtualpool.bound.measuring import DISTANCE, Measured, measure, output_of
from virtualpool.bound.propagation import Operations, followed, propagate
from virtualpool.bound.recording import make_pure, record, take_apart
from virtualpool.errors import VirtualPoolError
from virtualpool.graph.image_scale import without_resizing
from virtualpool.graph.inputs import for_model, tensors
from virtualpool.graph.parts import Part, Traced, trace
from virtualpool.graph.placement import placement
from virtualpool.graph.running import evaluating, run
from virtualpool.sites import check_model, choose, sites_of


@dataclass(frozen=True)
class Factor:
    """By how much one layer with weights can multiply an error.

    Attributes:
        name: the module's name.
        paper: sqrt(C) M B, of the largest absolute value (B: the largest norm of a filter).
        norm: an upper bound of the operation's norm, for norms that are roots of sums of squares.
    """

    name: str
    paper: float
    norm: float


@dataclass(frozen=True)
class Bound:
    """The change of a network's output by a pooled site, at most and in fact.

    Every tensor is (N,) float64, an image each. Norms are roots of sums of squares over all
    elements of a value; outputs in tuples, lists and dicts are taken together.

    Attributes:
        site: the name of the convolution.
        gradient: L of the paper: the largest slope of the site's map between neighbours, per cell.
        change: norm of the change by the virtual pool, where operations with weights first read it.
        read: norm of the values that they read without it.
        factors: the layers with weights that the error comes through, in their order.
        paper: the bound of the paper's equation 6.
        bound: ours: from `change` by the norms of the operations that follow.
        error: norm of the change of the output.
        output: norm of the output.
    """

    site: str
    gradient: Tensor
    change: Tensor
    read: Tensor
    factors: tuple[Factor, ...]
    paper: Tensor
    bound: Tensor
    error: Tensor
    output: Tensor

    @property
    def distance(self) -> float:
        """The paper's d_max: of an interpolated position from the samples that it is made of."""
        return DISTANCE


def error_bound(model: nn.Module, site: str, images: Tensor) -> Bound:
    """How far pooling one site can change a network's output, and how far it does.

    The paper's Proposition 1 (equation 6), a tighter bound and the error itself, each for every
    image. `docs/bound.md` has the proofs. Everything is computed in float64, and neither bound is
    below the error but for rounding.

    Args:
        model: any module that can be traced as a whole, in eval mode for this; it is not changed.
            The operations behind the site may branch and join: convolutions, fully connected
            layers, batch norms, activations, poolings, sums, concatenations, and moves of values.
        site: the name of an eligible site (see `virtualpool.sites`).
        images: (N, C, H, W), prepared as the network takes them.

    Returns:
        A `Bound`, whose tensors are (N,) float64, one value an image.

    Raises:
        VirtualPoolError: there is no such site or it is not eligible, or the error comes to an
            operation that may multiply it by any number, such as a product of two maps.

    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
    >>> bound = error_bound(model, "0", torch.rand(2, 3, 16, 16))
    >>> bool((bound.error <= bound.bound).all() and (bound.bound <= bound.paper).all())
    True
    >>> [factor.name for factor in bound.factors]
    ['2']
    """
    [bound] = error_bounds(model, [site], images)
    return bound


def error_bounds(model: nn.Module, sites: Sequence[str] | str, images: Tensor) -> list[Bound]:
    """`error_bound` of several sites, each pooled alone; of "all" that are eligible.

    The norms of the operations are computed once for all of them.

    Returns:
        A `Bound` for each site, in the order of `sites`; for "all" in the order of execution.
    """
    check_model(model)
    _check_images(images)
    examined, images = without_resizing(model, images)
    images = for_model(images, examined.double())
    first = images[:1]
    traced = trace(examined, first)
    chosen = choose(sites, sites_of(examined, first, traced))
    part = _whole(traced, model)
    ends = {name: _end(part, name) for name in chosen}
    graph, module = part.evaluation, part.module
    with evaluating(examined):
        take_apart(graph, module, ends.values())
        make_pure(graph, module, first)
        operations = record(graph, module, first)
        _check_same(output_of(operations).result, run(module, ((first,), {})), model)
        paths = {name: followed(operations, end) for name, end in ends.items()}
        measured: dict[str, list[Measured]] = {name: [] for name in chosen}
        for image in images.split(1):
            ran = record(graph, module, image)
            for name, end in ends.items():
                measured[name].append(measure(ran, image, end, paths[name]))
        return [_bound(name, ends[name], operations, measured[name]) for name in chosen]


def _bound(site: str, end: fx.Node, operations: Operations, measured: list[Measured]) -> Bound:
    def each(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64)

    gradient = each([one.gradient for one in measured])
    path = list(measured[0].changes)
    changes = {node: each([one.changes[node] for one in measured]) for node in path}
    errors = propagate(operations, site, end, ErrorSize(DISTANCE * gradient, changes[end]), changes)
    weighted = [
        operation
        for node, operation in operations.items()
        if node in errors and node not in path and operation.has_weights and not operation.joins
    ]
    read = [
        node for node in path if any(user in errors and user not in path for user in node.users)
    ]
    output = output_of(operations)
    results = [operations[node].result for node in output.sources if node in errors]
    none = torch.zeros_like(gradient)
    reached = errors.get(output.node, ErrorSize(none, none))
    return Bound(
        site=site,
        gradient=gradient,
        change=torch.stack([none, *[changes[node] for node in read]]).norm(dim=0),
        read=each([math.hypot(*[one.norms[node] for node in read]) for one in measured]),
        factors=tuple(Factor(it.name, it.gain.largest, it.gain.norm) for it in weighted),
        paper=math.sqrt(sum(it.numel() for it in tensors(results))) * reached.largest,
        bound=reached.norm,
        error=each([one.error for one in measured]),
        output=each([one.output for one in measured]),
    )


def _whole(traced: Traced, model: nn.Module) -> Part:
    """The part that is the whole model."""
    if [part.name for part in traced.parts] != [""]:
        reasons = [f"{name or 'the model'} {reason}" for name, reason in traced.untraced.items()]
        raise VirtualPoolError(
            f"{type(model).__name__} cannot be traced as a whole ({'; '.join(reasons)}), so it is "
            "not known how an error goes on; give the submodule that can be, and its inputs."
        )
    return traced.parts[0]


def _end(part: Part, site: str) -> fx.Node:
    calls = part.calls(part.evaluation, site)
    if len(calls) > 1:
        raise VirtualPoolError(
            f"{site} is called {len(calls)} times, and the bound is for a site with one call. "
            "Give a submodule that calls it once."
        )
    return placement(calls[0], part.module)[0]


def _check_images(images: Any) -> None:
    if not isinstance(images, Tensor) or images.ndim != 4 or len(images) == 0:
        shape = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise VirtualPoolError(
            f"error_bound takes images of shape (N, C, H, W), at least one of them, not {shape}."
        )
    if not images.isfinite().all():
        raise VirtualPoolError(
            "The images have values that are not finite. Look for NaN and infinity in them."
        )


def _check_same(actual: Any, expected: Any, model: nn.Module) -> None:
    pairs = zip(tensors(actual), tensors(expected), strict=True)
    if not all(torch.allclose(one, other) for one, other in pairs):
        raise VirtualPoolError(
            f"{type(model).__name__} gives other values than its traced modules, so "
            "it is not known how an error goes on; give a part of it."
        )
