import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from virtualpool import VirtualPoolError
from virtualpool.cascade.calibrating import Outputs, calibrated, outcome
from virtualpool.cascade.confidence import margin


def _drawn(images: int, seed: int, classes: int = 4) -> Outputs:
    """A source: the less sure the fast model is, the more often it is wrong."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (images,), generator=generator)
    sure = torch.rand(images, generator=generator)
    wrong = torch.rand(images, generator=generator) < 0.3 * (1 - sure) ** 2
    answers = (labels + wrong) % classes
    fast = 6 * sure[:, None] * torch.nn.functional.one_hot(answers, classes)
    is_missed = torch.rand(images, generator=generator) < 0.1
    slow = torch.nn.functional.one_hot((labels + is_missed) % classes, classes).float()
    return Outputs(fast, slow, labels)


def _lost(temperature: float, threshold: float) -> float:
    """The share that a cascade loses of all images that `_drawn` can draw, in closed form."""
    if threshold >= 1:
        return 0
    odds = (1 + 3 * threshold) / (1 - threshold)
    sure = max(0, temperature / 6 * math.log(odds)) if threshold > 0 else 0
    return 0.9 * 0.1 * (1 - sure) ** 3


@settings(max_examples=5, deadline=None, derandomize=True)
@given(st.sampled_from([0.0, 0.02, 0.05]), st.floats(0.7, 0.95), st.integers(0, 100))
def test_the_promise_is_kept_as_often_as_it_is_promised(max_drop, confidence, start):
    draws, broken = 60, 0
    for seed in range(draws):
        found = calibrated(
            _drawn(320, draws * start + seed), max_drop=max_drop, confidence=confidence
        )
        broken += _lost(found.temperature, found.threshold) > found.promised
    chance = 1 - confidence
    assert broken <= draws * chance + 4 * math.sqrt(draws * chance * confidence)


def test_a_threshold_without_a_bound_breaks_it():
    """So the test above can fail: with as many losses as are allowed, half of them are broken."""
    broken = 0
    for seed in range(100):
        outputs = _drawn(300, seed)
        right = outputs.classes
        lost = (outputs.fast.argmax(1) != right) & (outputs.slow.argmax(1) == right)
        margins = margin(outputs.fast, 1.0)[lost].sort(descending=True).values
        broken += _lost(1.0, float(margins[6])) > 0.02  # 6 of 300 are 2 %
    assert broken > 25


def test_the_threshold_is_the_smallest_one():
    outputs = _drawn(2000, seed=5)
    found = calibrated(outputs, max_drop=0.02)
    rest = outputs[torch.arange(2000) % 20 != 0]
    assert found.outcome.lost == 27  # P(Binomial(1900, 0.02) <= 27) is the last below 0.05
    lower = outcome(rest, found.temperature, math.nextafter(found.threshold, -1) - 1e-6)
    assert lower.lost == 28
    assert found.outcome.drop == (found.outcome.lost - found.outcome.won) / 1900


def test_a_larger_drop_is_answered_more_often():
    outputs = _drawn(1000, seed=1)
    shares = [calibrated(outputs, max_drop=it).outcome.answered for it in (0, 0.01, 0.02, 0.05)]
    assert shares == sorted(shares)
    assert shares[0] < shares[-1]


def test_no_drop_is_no_lost_image_and_says_what_that_promises():
    found = calibrated(_drawn(1000, seed=1))
    assert (found.max_drop, found.outcome.lost) == (0, 0)
    assert found.promised == pytest.approx(1 - 0.05 ** (1 / 950))


def test_models_that_were_chosen_from_share_the_confidence():
    outputs = _drawn(1000, seed=1)
    one, four = (calibrated(outputs, max_drop=0.02, tests=tests) for tests in (1, 4))
    assert four.threshold == calibrated(outputs, max_drop=0.02, confidence=0.9875).threshold
    assert four.threshold >= one.threshold


def test_without_labels_the_original_is_right():
    labelled = _drawn(1000, seed=1)
    bare = Outputs(labelled.fast, labelled.slow)
    found = calibrated(bare, max_drop=0.05)
    alike = calibrated(
        Outputs(labelled.fast, labelled.slow, labelled.slow.argmax(1)), max_drop=0.05
    )
    assert (found.labelled, alike.labelled) == (False, True)
    assert found.threshold == alike.threshold
    assert found.outcome == alike.outcome
    assert found.outcome.won == 0


def test_equal_margins_count_together():
    """All images have one margin: either all are answered or none."""
    labels = torch.zeros(400, dtype=torch.long)
    slow = torch.tensor([[1.0, 0.0]]).repeat(400, 1)
    fast = slow.clone()
    fast[1::20] = torch.tensor([0.0, 1.0])
    found = calibrated(Outputs(fast, slow, labels), max_drop=0.01)
    assert found.outcome.answered == 0
    assert found.outcome.lost == 0


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (300, {"max_drop": 0.01}, r"300 calibration images cannot .* 0\.01 .* 315 are needed"),
        (300, {}, "drop below 0.01, which max_drop=0 asks for .* 315 are needed"),
        (315, {"max_drop": 0.005}, "630 are needed"),
        (315, {"max_drop": 0.01, "tests": 5}, "484 are needed"),
        (0, {"max_drop": 0.5}, "6 are needed"),
        (400, {"max_drop": -0.1}, r"max_drop is -0.1; give a share"),
        (400, {"max_drop": 1}, "max_drop is 1"),
        (400, {"max_drop": float("nan")}, "max_drop is nan"),
        (400, {"confidence": 1.0}, "confidence is 1.0; give a probability"),
        (400, {"confidence": float("nan")}, "confidence is nan"),
    ],
)
def test_refused(images, options, message):
    with pytest.raises(VirtualPoolError, match=message):
        calibrated(_drawn(images, seed=0), **options)


@pytest.mark.parametrize("needed", [315, 630])
def test_the_needed_images_are_enough(needed):
    calibrated(_drawn(needed, seed=0), max_drop=0.01 if needed == 315 else 0.005)
