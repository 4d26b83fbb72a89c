"""Solved weights as far as they help: no output is to be further from the original's."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from virtualpool import processes
from virtualpool.graph.inputs import tensors
from virtualpool.recover.walk import Pair

SHARES = (1.0, 0.75, 0.5, 0.25)
"""The parts of the way from the given weights to the solved ones that are tried."""
_CLEAR = 0.98
"""The part of the error that may be left. Less gain on a few held-out images is chance."""


@dataclass(frozen=True)
class Judgement:
    """How a model's outputs on held-out images compare with the original's.

    Attributes:
        error: their square error, in parts of the original's square. Logits (N, classes) have
            the divergence from the original's classes added to theirs, in nats an image.
        agreed: the images with the original's first class; none where outputs are no logits.
        share: the part of the way to the solved weights.
        related: False where outputs of zero would be as near to the original's.
    """

    error: float
    agreed: int
    share: float = 0.0
    related: bool = True


def take_best(
    model: nn.Module, start: nn.Module, judge: Callable[[nn.Module], Judgement]
) -> tuple[Judgement, Judgement]:
    """Gives a model the weights with the least error on held-out images.

    They lie on the way from the given weights to its own, which are solved. Weights with which
    fewer images have the original's first class are not taken, and neither are weights whose
    outputs have nothing to do with the original's: what a few images say of them is chance.

    Args:
        model: has the solved weights; is changed.
        start: the same model with the weights that were given.
        judge: the judgement of a model.

    Returns:
        Before and after.
    """
    given = _state_of(start)
    end = {name: value.clone() for name, value in _state_of(model).items()}

    def go(share: float) -> None:
        for name, value in _state_of(model).items():
            if share == 1:
                value.copy_(end[name])
            elif value.is_floating_point():
                value.copy_(torch.lerp(given[name].double(), end[name].double(), share))
            else:
                value.copy_(given[name])

    best = before = judge(start)
    least = _CLEAR * before.error
    for share in SHARES:
        go(share)
        judgement = replace(judge(model), share=share)
        better = judgement.agreed >= before.agreed and judgement.error < least
        if better and judgement.related:
            best, least = judgement, judgement.error
    go(best.share)
    return before, best


def judged(pairs: list[Pair], device: torch.device) -> Judgement:
    """Judges a model by the outputs of its calls and the original's."""
    sums = torch.zeros(5, dtype=torch.float64, device=device)
    for pair in pairs:
        given, wanted = map(_numbers, pair.results())
        for one, other in zip(given, wanted, strict=False):
            if one.shape != other.shape and one.ndim == 4:
                other = other[:, :, ::2, ::2]  # a layer of the heads that is a site
            if one.shape == other.shape:
                sums[0] += (one - other).square().sum()
                sums[1] += other.square().sum()
        if _are_logits(given) and _are_logits(wanted) and given[0].shape == wanted[0].shape:
            sums[2] += (given[0].argmax(1) == wanted[0].argmax(1)).sum()
            sums[3] += _divergence(given[0], wanted[0])
            sums[4] += len(given[0])
    processes.add_up([sums])
    error, scale, agreed, divergence, count = sums.tolist()
    error = error / scale if scale else error
    # The square error alone would have logits near their mean, with their order lost.
    both = error + (divergence / count if count else 0.0)
    return Judgement(both, round(agreed), related=not scale or error < 1)


class Remembered:
    """The outputs of calls, kept up to a memory: the original's are asked for five times."""

    def __init__(self, memory_gib: float) -> None:
        self._left = int(memory_gib * 2**30)
        self._kept: dict[int, list[Tensor]] = {}

    def of(self, pair: Pair) -> Pair:
        """A pair that calls the original once, as far as the memory goes."""
        return replace(pair, original=partial(self._outputs, pair))

    def _outputs(self, pair: Pair) -> list[Tensor]:
        if pair.number in self._kept:
            return self._kept[pair.number]
        outputs = [tensor.clone() for tensor in tensors(pair.original())]
        size = sum(each.nbytes for each in outputs)
        if size <= self._left:
            self._left -= size
            self._kept[pair.number] = outputs
        return outputs


def _divergence(given: Tensor, wanted: Tensor) -> Tensor:
    log_given, log_wanted = (functional.log_softmax(logits, 1) for logits in (given, wanted))
    return functional.kl_div(log_given, log_wanted, reduction="sum", log_target=True)


def results_of(model: nn.Module, layers: list[str], call: Callable[[], Any]) -> Any:
    """The result of a call of a model; or its layers' of some names, in each call of them."""
    found: list[Tensor] = []
    handles = [
        model.get_submodule(name).register_forward_hook(
            lambda _, __, out: found.append(out.clone())  # the code may change it in place
        )
        for name in layers
    ]
    try:
        outputs = call()
    finally:
        for handle in handles:
            handle.remove()
    return found if layers else outputs


def _are_logits(outputs: list[Tensor]) -> bool:
    return len(outputs) == 1 and outputs[0].ndim == 2 and outputs[0].shape[1] > 1


def _numbers(output: Any) -> list[Tensor]:
    return [tensor.double() for tensor in tensors(output) if tensor.is_floating_point()]


def _state_of(model: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers of a model, which are its own and no copies."""
    return {
        name: each.detach() for name, each in (*model.named_parameters(), *model.named_buffers())
    }
