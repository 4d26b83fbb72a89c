"""Layers solved one after another, each on images of its own and judged on others."""

import logging
import math
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from virtualpool import processes
from virtualpool.errors import VirtualPoolError
from virtualpool.graph.random_numbers import mixed_seed
from virtualpool.recover.layers import Layer, Order
from virtualpool.recover.least_squares import NormalEquations, Problem
from virtualpool.recover.refining import Refining, error_of
from virtualpool.recover.samples import patches, positions, rows_of, targets
from virtualpool.recover.walk import Walk

logger = logging.getLogger("virtualpool")

_SAMPLES = 48
"""Positions of each map that are enough, where there are many images."""
_ROWS_EACH = 2
"""Rows for each unknown: with few images, more of their positions enter the solve."""
_RIDGES = (1e-3, 1e-2, 1e-1, 1.0)
_BLURS = (0.5, 0.0)
"""Of a site's target, the share that is blurred."""
_GIB = 2**30

Solution = tuple[Tensor, Tensor]
"""Weights, and the shift of the output."""


class Solver:
    """Solves layer after layer.

    Each process sums over all processes, so all of them find the same.

    Args:
        walk: both models, over the batches of this process.
        order: in which layers are called.
        samples: positions of each map that enter the solve, for each image; None is as many as
            the layer needs.
        images: of all processes, that solve.
        memory_gib: the most memory for the equations of one layer.
        seed: decides the positions.
        refining: the gradient steps after each solve.

    Attributes:
        changed: how many layers have new weights.
        left: of the other layers from the first site on, why they have not.
        shares: of the layers that have fewer rows than unknowns, the rows for each unknown.
    """

    def __init__(
        self,
        walk: Walk,
        order: Order,
        samples: int | None,
        images: int,
        memory_gib: float,
        seed: int,
        refining: Refining,
    ) -> None:
        self.changed = 0
        self.left: dict[str, str] = {}
        self.shares: dict[str, float] = {}
        self._walk, self._order = walk, order
        self._samples, self._images, self._seed = samples, images, seed
        self._refining = refining
        self._memory = max(1.0, memory_gib) * _GIB

    def solve(self, layer: Layer) -> None:
        """Solves a layer; those called earlier have been solved, or never will be."""
        index = self._order.calls.index(layer.name)
        reason = self._reason_against(layer) or self._solve(layer, index)
        if reason is None:
            self.changed += 1
        else:
            self.left[layer.name] = reason

    def _reason_against(self, layer: Layer) -> str | None:
        if layer.name in self._order.selected:
            return "it reads a selection by value, and the original selects otherwise"
        groups, outputs, unknowns = layer.weight.shape
        needed = 8 * groups * unknowns * (3 * unknowns + 3 * outputs * (1 + layer.is_site))
        if needed > self._memory:
            return f"its equations take {needed / _GIB:.0f} GiB; raise memory_gib"
        return None

    def _solve(self, layer: Layer, index: int) -> str | None:
        """Solves a layer; says why it keeps its weights where it does."""
        groups, outputs, unknowns = layer.weight.shape
        equations = NormalEquations(
            groups, unknowns, outputs * (1 + layer.is_site), layer.weight.device
        )
        is_unlike = False
        for number, calls in self._maps(layer, index, judging=False):
            for call, maps in enumerate(calls):
                found = self._rows(layer, maps, mixed_seed(self._seed, index, number, call))
                is_unlike |= found is None
                if found is not None:
                    equations.add(*found)
        sums = equations.tensors
        rows = sums[0]
        unlike = rows.new_full((1,), float(is_unlike))
        processes.add_up([unlike, *sums])
        if not all(bool(each.isfinite().all()) for each in sums):
            raise VirtualPoolError(
                f"{layer.name} reads, or gives in the original, values that are not "
                "finite; look for NaN in the images and the weights."
            )
        if bool(unlike) or not bool(rows):
            return "it reads other positions than in the original"
        if (share := float(rows) / unknowns) < 1:
            self.shares[layer.name] = share
        before = layer.state()
        problem = equations.problem(has_shift=layer.takes_shift)
        error = self._take_best(layer, index, [*_candidates(layer, problem)])
        self._refine(layer, index, error)
        if all(map(torch.equal, before, layer.state())):
            return "no solution is better on the held-out images"
        return None

    def _refine(self, layer: Layer, index: int, error: Tensor) -> None:
        """Takes gradient steps, and takes them back where the held-out error does not fall."""
        before = layer.state()
        if not self._refining.refine(layer, partial(self._maps, layer, index, judging=False)):
            return
        after = torch.zeros_like(error)
        for _, calls in self._maps(layer, index, judging=True):
            for x, target in calls:
                after += error_of(layer, x, layer.after_original(target))
        processes.add_up([after])
        if not after < error:  # not a number, too
            layer.restore(before)

    def _maps(
        self, layer: Layer, index: int, *, judging: bool
    ) -> Iterator[tuple[int, list[tuple[Tensor, Tensor]]]]:
        """The number of each batch; of each call the layer's input, and what it should give."""
        for number, calls in self._walk.maps(index, judging=judging):
            yield number, [(x, layer.target(output, drift)) for x, output, drift in calls]

    def _rows(
        self, layer: Layer, maps: tuple[Tensor, Tensor], seed: int
    ) -> tuple[Tensor, Tensor] | None:
        """Inputs and outputs of a layer; of a site the outputs and, beside them, blurred ones.

        None where the layer gives another map than the original's.
        """
        x, target = maps
        samples = self._samples or _samples_for(layer, self._images)
        generator = torch.Generator().manual_seed(seed)
        if isinstance(layer.module, nn.Linear):
            if x.shape[:-1] != target.shape[:-1]:
                return None
            x, target = rows_of([x, target], samples, generator)
            return x.unsqueeze(0), target.unsqueeze(0)
        x, target = (each if each.ndim == 4 else each.unsqueeze(0) for each in (x, target))
        step = 2 if layer.is_site else 1
        size = -(-target.shape[-2] // step), -(-target.shape[-1] // step)
        if len(x) != len(target) or size != layer.size_for(x):
            return None
        where = positions(size, samples, generator)
        outputs = [
            targets(target, where, step, blurred=blurred)
            for blurred in ((False, True) if layer.is_site else (False,))
        ]
        grouped = [each.unflatten(1, (layer.groups, -1)).transpose(0, 1) for each in outputs]
        return patches(layer.module, x, where), torch.cat(grouped, 2)

    def _take_best(self, layer: Layer, index: int, candidates: list[Solution]) -> Tensor:
        """Gives a layer the solution with the least error on the held-out images, and says it.

        The given weights stay where the error grows by all.
        """
        before = layer.state()
        errors = torch.zeros(1 + len(candidates), dtype=torch.float64, device=layer.weight.device)
        for _, calls in self._maps(layer, index, judging=True):
            for x, target in calls:
                wanted = layer.after_original(target)
                errors[0] += error_of(layer, x, wanted)
                for number, candidate in enumerate(candidates, 1):
                    layer.set(*candidate)
                    errors[number] += error_of(layer, x, wanted)
                    layer.restore(before)
        processes.add_up([errors])
        least = int(errors.nan_to_num(math.inf).argmin())
        if errors[least] < errors[0]:
            layer.set(*candidates[least - 1])
            return errors[least]
        return errors[0]


def _samples_for(layer: Layer, images: int) -> int:
    return max(_SAMPLES, math.ceil(_ROWS_EACH * layer.weight.shape[2] / images))


def _candidates(layer: Layer, problem: Problem) -> Iterator[Solution]:
    weight = layer.weight
    towards = torch.cat([weight, weight], 1) if layer.is_site else weight
    solutions = [problem.rescaled(towards)]
    solutions += [solution for ridge in _RIDGES if (solution := problem.solve(towards, ridge))]
    for solved, shift in solutions:
        if not layer.is_site:
            yield solved.to(weight), shift
            continue
        (plain, blurred), (its, others) = solved.chunk(2, 1), shift.chunk(2, 1)
        for blur in _BLURS:
            yield torch.lerp(plain, blurred, blur).to(weight), torch.lerp(its, others, blur)
