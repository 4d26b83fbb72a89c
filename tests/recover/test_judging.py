"""Solved weights as far as they help, and by which measure."""

import pytest
import torch
from torch import Tensor, nn

from virtualpool.recover.judging import Judgement, judged, state_of, take_best
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
    ("ends", "wanted"),
    [
        ((1.0, 3.0), 3.0),
        ((3.0, 1.0), 3.0),
        ((6.0, -9.0), 3.0),
        ((-1.0, -2.0), 0.0),
        ((0.05, -1.0), 0.0),
    ],
    ids=["the second", "the first", "half of the first", "none", "none by chance"],
)
def test_the_best_of_several_solutions_is_taken_as_far_as_it_helps(ends, wanted):
    model, start = scale(5.0), scale(0.0)

    def error(it: nn.Module) -> Judgement:
        return Judgement(abs(_weight(it) - 3), 0)

    with torch.no_grad():
        before, after = take_best(model, start, [state_of(scale(end)) for end in ends], error)
    assert _weight(model) == pytest.approx(wanted)
    assert (before.error, after.error) == (3.0, pytest.approx(abs(wanted - 3)))


def test_of_solutions_with_fewer_classes_right_none_is_taken():
    model = scale(5.0)
    with torch.no_grad():
        take_best(
            model, scale(0.0), [state_of(scale(1.0))],
            lambda it: Judgement(-_weight(it), -int(_weight(it) > 0)),
        )  # fmt: skip
    assert _weight(model) == 0


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
