"""Solved weights as far as they help: no output is to be further from the original's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from virtualpool import processes
from virtualpool.graph.inputs import tensors
from virtualpool.recover.walk import Pair

SHARES = (1.0, 0.75, 0.5, 0.25)
"""The parts of the way from the given weights to the solved ones that are tried."""


@dataclass(frozen=True)
class Judgement:
    """How a model's outputs on held-out images compare with the original's.

    Attributes:
        error: their square error, in parts of the original's square.
        agreed: the images with the original's first class; none where outputs are no logits.
        share: the part of the way to the solved weights.
    """

    error: float
    agreed: int
    share: float = 0.0


def take_best(
    solved: nn.Module, start: nn.Module, judge: Callable[[nn.Module, float], Judgement]
) -> tuple[Judgement, Judgement]:
    """Gives a model the weights on the way between two with the least error on held-out images.

    Those with which fewer images have the original's first class are not taken.

    Args:
        solved: the model with the solved weights, which is changed.
        start: the same model with the weights that it had.
        judge: the judgement of a model, for a part of the way.

    Returns:
        Before and after.
    """
    before = judge(start, 0.0)
    best, given = before, _state(start)
    ends = {name: value.clone() for name, value in _state(solved).items()}

    def go(share: float) -> None:
        for name, value in _state(solved).items():
            if share == 1:
                value.copy_(ends[name])
            elif value.is_floating_point():
                value.copy_(torch.lerp(given[name].double(), ends[name].double(), share))
            else:
                value.copy_(given[name])

    for share in SHARES:
        go(share)
        judgement = judge(solved, share)
        if judgement.agreed >= before.agreed and judgement.error < best.error:
            best = judgement
    go(best.share)
    return before, best


def judged(pairs: list[Pair], device: torch.device, share: float) -> Judgement:
    """Judges a model by the outputs of its calls and the original's."""
    sums = torch.zeros(3, dtype=torch.float64, device=device)
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
    processes.add_up([sums])
    error, scale, agreed = sums.tolist()
    return Judgement(error / scale if scale else error, round(agreed), share)


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


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {
        name: each.detach() for name, each in (*model.named_parameters(), *model.named_buffers())
    }
