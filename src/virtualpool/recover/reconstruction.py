"""Reconstruction: weights solved so that a pooled network gives the original's maps.

Original and pooled network are walked together, in the order of execution. Where a layer of the
pooled network is reached, its input is known with all earlier layers solved, and so is the
original's output of the same layer: the best weights are a least-squares problem with a closed
form. It needs images and no labels.
"""

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from virtualpool.errors import VirtualPoolError
from virtualpool.fuse import report_of
from virtualpool.graph.inputs import call, map_tensors, tensors
from virtualpool.graph.parts import evaluating
from virtualpool.graph.state import copy_of
from virtualpool.measure.bench import device_of
from virtualpool.observer import Observer, unobserved
from virtualpool.operator.pool import virtual_pool
from virtualpool.plan import plan_of
from virtualpool.recover.batches import images_of
from virtualpool.recover.layers import Layer, call_order, layers_of
from virtualpool.recover.least_squares import NormalEquations
from virtualpool.recover.samples import patches, positions, targets
from virtualpool.recover.walk import Pair, Walk

logger = logging.getLogger("virtualpool")

_RIDGES = (1e-3, 1e-2, 1e-1, 1.0)
_BLURS = (0.5, 0.0)
"""Of a site's target, the share that is blurred."""
_HELD_OUT = 0.2
"""The share of the images that choose, and enter no solve."""


@torch.no_grad()
def reconstruct(
    pooled: nn.Module,
    original: nn.Module,
    batches: Iterable[Any],
    *,
    samples: int = 48,
    memory_gib: float = 4.0,
    seed: int = 0,
    observer: Observer = unobserved,
) -> nn.Module:
    """A new pooled model with weights solved so that its maps are those of the original.

    Every convolution and linear layer from the first site on is solved, pooled or not, by least
    squares with a ridge towards its weights. At a site the target is the original's map at the
    even positions, half of it blurred by [1 2 1] / 4 per axis. A fifth of the images is held out of
    the solve. On these the ridge and the blur of each layer are chosen, by the error after
    activation and interpolation, and a layer is changed only where that error falls. If the outputs
    are then further from the original's, the model is returned with the weights that it had.

    Args:
        pooled: a model of `virtualpool.apply`, unfused; it is not changed.
        original: the unmodified model.
        batches: batches of images, or of tuples that start with images, on any device: a few
            hundred images to a few thousand. Labels are not read.
        samples: positions of each map that enter the solve, for each image.
        memory_gib: about how many GiB the maps of all images may take. The forwards of images
            beyond that are repeated for each layer.
        seed: decides the positions.
        observer: is told of progress.

    Raises:
        VirtualPoolError: the model has no virtual pool or is fused, there are fewer than two
            images, or a map is not finite.

    >>> from virtualpool import apply
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3)).eval()
    >>> images = torch.rand(32, 3, 16, 16)
    >>> pooled = apply(model, images[:1])
    >>> solved = reconstruct(pooled, model, [images])
    >>> def error(other):
    ...     return (other(images) - model(images)).square().mean()
    >>> bool(error(solved) < error(pooled))
    True
    """
    _check(pooled)
    start, solved, teacher = copy_of(pooled), copy_of(pooled), copy_of(original)
    solving, judging = _split(batches)
    with evaluating(start), evaluating(solved), evaluating(teacher):
        pairs = [_pair(solved, teacher, images) for images in (*solving, *judging)]
        order = call_order(solved, pairs[0].solved)
        layers = layers_of(solved, teacher, solving[0], order)
        solver = _Solver(layers, len(solving), samples, torch.Generator().manual_seed(seed))
        walk = Walk(solved, teacher, pairs, order, memory_gib)
        for index, name, paused in walk.steps():
            observer("reconstruction", index, len(order.calls), name)
            if name in layers:
                solver.step(layers[name], paused, walk)
        observer("reconstruction", len(order.calls), len(order.calls), "")
        before, after = (_error_of_outputs(it, teacher, judging) for it in (start, solved))
    _tell(solver, layers, before, after)
    return solved if after <= before else start


def _check(pooled: nn.Module) -> None:
    if not plan_of(pooled).names:
        raise VirtualPoolError(
            f"{type(pooled).__name__} has no virtual pool, so there is nothing to reconstruct; "
            "pool it first: virtualpool.apply(model, example_inputs)."
        )
    if report_of(pooled) is not None:
        raise VirtualPoolError(
            f"{type(pooled).__name__} is fused; reconstruct the pooled model, then fuse the result."
        )


def _split(batches: Iterable[Any]) -> tuple[list[Any], list[Any]]:
    """Images for the solve, and those that are held out of it."""
    given = [images_of(batch) for batch in batches]
    if len(given) == 1 and len(given[0]) > 1:
        held = max(1, round(_HELD_OUT * len(given[0])))
        return [given[0][:-held]], [given[0][-held:]]
    if len(given) < 2:
        raise VirtualPoolError(
            "Reconstruction needs two images at least, one to solve with and one to judge by; "
            "give a few hundred."
        )
    held = max(1, round(_HELD_OUT * len(given)))
    return given[:-held], given[-held:]


def _pair(solved: nn.Module, teacher: nn.Module, images: Any) -> Pair:
    return Pair(lambda: _call(solved, images), lambda: _call(teacher, images))


def _call(model: nn.Module, images: Any) -> Any:
    device = device_of(model)
    return call(model, map_tensors(lambda tensor: tensor.to(device), images))


class _Solver:
    """Solves layer after layer.

    Attributes:
        changed: how many layers have new weights.
        left: of the other layers from the first site on, why they have not.
    """

    def __init__(
        self, layers: dict[str, Layer], solving: int, samples: int, generator: torch.Generator
    ) -> None:
        self.changed = 0
        self.left: dict[str, str] = {}
        self._is_behind_site = False
        self._done: set[str] = set()
        self._solving, self._samples, self._generator = solving, samples, generator

    def step(self, layer: Layer, paused: list[tuple[Tensor, Tensor]], walk: Walk) -> None:
        """Solves a layer at its first call.

        Args:
            layer: the layer.
            paused: of each batch, what the layer reads and what the original gave.
            walk: gives the same for later calls.
        """
        self._is_behind_site |= layer.is_site
        if not self._is_behind_site or layer.name in self._done:
            return
        self._done.add(layer.name)
        calls = [[pair] for pair in paused] if layer.calls == 1 else walk.all_calls(layer.name)
        equations = self._equations(layer, calls[: self._solving])
        if equations is None:
            self.left[layer.name] = "it reads other positions than in the original"
        elif self._choose(layer, equations, [it for each in calls[self._solving :] for it in each]):
            self.changed += 1
        else:
            self.left[layer.name] = "no solution is better on the held-out images"

    def _equations(
        self, layer: Layer, calls: list[list[tuple[Tensor, Tensor]]]
    ) -> NormalEquations | None:
        equations = None
        for x, target in (pair for each in calls for pair in each):
            rows, outputs = self._rows(layer, x, target)
            if rows.shape[1] != outputs.shape[1]:
                return None
            if equations is None:
                shape = layer.groups, rows.shape[2], outputs.shape[2]
                equations = NormalEquations(*shape, rows.device)
            equations.add(rows, outputs)
        assert equations is not None  # there are images, and the layer is called for each
        if not all(bool(each.isfinite().all()) for each in equations.tensors):
            raise VirtualPoolError(
                f"{layer.name} reads, or gives in the original, what is not finite; look for NaN "
                "in the images and the weights."
            )
        return equations

    def _rows(self, layer: Layer, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and outputs of a layer; of a site the outputs and, beside them, blurred ones."""
        module = layer.module
        if isinstance(module, nn.Linear):
            return x.reshape(1, -1, x.shape[-1]), target.reshape(1, -1, target.shape[-1])
        step = 2 if layer.is_site else 1
        size = -(-target.shape[-2] // step), -(-target.shape[-1] // step)
        where = positions(size, self._samples, self._generator)
        outputs = [
            targets(target, where, step, blurred=blurred)
            for blurred in ((False, True) if layer.is_site else (False,))
        ]
        grouped = [each.unflatten(1, (layer.groups, -1)).transpose(0, 1) for each in outputs]
        return patches(module, x, where), torch.cat(grouped, 2)

    def _choose(
        self, layer: Layer, equations: NormalEquations, judging: list[tuple[Tensor, Tensor]]
    ) -> bool:
        """Gives a layer the best of its solutions; says whether one is better than its weights."""
        before, best = layer.state(), None
        least = _error_of(layer, judging)
        for weight, shift in _candidates(layer, equations):
            layer.set(weight, shift)
            if (error := _error_of(layer, judging)) < least:
                best, least = (weight, shift), error
            layer.restore(before)
        if best is not None:
            layer.set(*best)
        return best is not None


def _candidates(layer: Layer, equations: NormalEquations) -> Iterator[tuple[Tensor, Tensor]]:
    weight = layer.weight
    towards = torch.cat([weight, weight], 1) if layer.is_site else weight
    for ridge in _RIDGES:
        found = equations.solve(towards, ridge, has_shift=layer.takes_shift)
        if found is None:
            continue
        solved, shift = found
        if not layer.is_site:
            yield solved, shift
            continue
        (plain, blurred), (its, others) = solved.chunk(2, 1), shift.chunk(2, 1)
        for blur in _BLURS:
            yield torch.lerp(plain, blurred, blur), torch.lerp(its, others, blur)


def _error_of(layer: Layer, judging: list[tuple[Tensor, Tensor]]) -> float:
    """The square error of a layer's maps, after activation and interpolation."""
    error = 0.0
    for x, target in judging:
        out, wanted = layer.after(layer.module(x)), layer.after_original(target)
        if layer.is_site:
            out = virtual_pool(out, (wanted.shape[-2], wanted.shape[-1]))
        if out.shape == wanted.shape:
            error += float((out - wanted).square().sum(dtype=torch.float64))
    return error


def _error_of_outputs(model: nn.Module, original: nn.Module, judging: list[Any]) -> float:
    """The square error of a model's outputs, in parts of the original's."""
    error = scale = 0.0
    for images in judging:
        given, wanted = (_numbers(_call(it, images)) for it in (model, original))
        for one, other in zip(given, wanted, strict=False):
            if one.shape == other.shape:
                error += float((one - other).square().sum())
                scale += float(other.square().sum())
    return error / scale if scale else 0.0


def _numbers(output: Any) -> list[Tensor]:
    return [tensor.double() for tensor in tensors(output) if tensor.is_floating_point()]


def _tell(solver: _Solver, layers: dict[str, Layer], before: float, after: float) -> None:
    logger.info(
        "reconstructed %d of %d layers; square error of the outputs %.4f, before %.4f",
        solver.changed, len(layers), after, before,
    )  # fmt: skip
    for name, reason in solver.left.items():
        logger.info("%s keeps its weights: %s", name, reason)
    if after > before:
        logger.warning("Reconstruction raises the error of the outputs: the weights stay.")
