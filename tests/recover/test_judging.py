"""Solved weights as far as they help, and by which measure."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from virtualpool.recover.judging import Judgement, Remembered, judged, take_best
from virtualpool.recover.walk import Pair

CPU = torch.device("cpu")


def judge(given: Tensor, wanted: Tensor) -> Judgement:
    return judged([Pair(0, lambda: given, lambda: wanted)], CPU)


def scale(value: float) -> nn.Conv2d:
    module = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(module.weight, value)
    return module


def _weight(module: nn.Module) -> float:
    return float(next(module.parameters()).detach().sum())


@pytest.mark.parametrize(
    ("end", "wanted"),
    [(3.0, 3.0), (6.0, 3.0), (4.0, 3.0), (-1.0, 0.0), (0.05, 0.0)],
    ids=["all of the way", "half", "three quarters", "none", "none by chance"],
)
def test_solved_weights_are_taken_as_far_as_they_help(end, wanted):
    model, start = scale(end), scale(0.0)

    def error(it: nn.Module) -> Judgement:
        return Judgement(abs(_weight(it) - 3), 0)

    with torch.no_grad():
        before, after = take_best(model, start, error)
    assert _weight(model) == pytest.approx(wanted)
    assert (before.error, after.error) == (3.0, pytest.approx(abs(wanted - 3)))


def test_weights_with_fewer_classes_right_are_not_taken():
    model = scale(1.0)
    with torch.no_grad():
        take_best(model, scale(0.0), lambda it: Judgement(-_weight(it), -int(_weight(it) > 0)))
    assert _weight(model) == 0


def test_weights_whose_outputs_are_unrelated_are_not_taken():
    model, wanted = scale(-3.0), torch.ones(4, 1)
    with torch.no_grad():
        take_best(model, scale(-9.0), lambda it: judge(_weight(it) * wanted, wanted))
    assert _weight(model) == -9


def test_logits_near_their_mean_are_further_off_than_noisy_ones():
    wanted = 8 * torch.eye(10)
    noise = torch.randn(10, 10, generator=torch.Generator().manual_seed(0))
    shrunk, noisy = wanted.mean() + 0.2 * (wanted - wanted.mean()), wanted + 2.4 * noise
    assert (shrunk - wanted).square().sum() < (noisy - wanted).square().sum()
    assert judge(shrunk, wanted).error > judge(noisy, wanted).error


@pytest.mark.parametrize("shape", [(4, 1), (4, 3, 2), (4, 3, 2, 2)])
def test_what_is_no_logits_has_a_square_error_alone(shape):
    wanted = torch.ones(shape)
    assert judge(1.5 * wanted, wanted) == Judgement(0.25, 0)


@pytest.mark.parametrize(
    ("memory_gib", "calls"), [(1.0, [0, 1]), (40 / 2**30, [0, 1, 1]), (0, [0, 1, 0, 1])]
)
def test_the_original_runs_once_as_far_as_the_memory_goes(memory_gib, calls):
    ran: list[int] = []

    def original(number: int) -> dict[str, Tensor]:
        ran.append(number)
        return {"logits": torch.full((1, 10), float(number))}

    def pairs() -> list[Pair]:
        return [
            Pair(number, lambda: {"logits": torch.ones(1, 10)}, partial(original, number))
            for number in range(2)
        ]

    once = Remembered(memory_gib)
    first, second = (judged([*map(once.of, pairs())], CPU) for _ in range(2))
    assert first == second == judged(pairs(), CPU)
    assert ran[:-2] == calls
