import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from virtualpool.cascade.promise import allowed_losses, needed_images, smallest_rate

RATES = st.floats(0.002, 0.6)
CONFIDENCES = st.floats(0.5, 0.999)


def _at_most(losses: int, images: int, rate: float) -> float:
    """P(Binomial(images, rate) <= losses), term by term."""
    return sum(
        math.comb(images, k) * rate**k * (1 - rate) ** (images - k) for k in range(losses + 1)
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), RATES, CONFIDENCES)
def test_one_loss_more_would_be_too_likely(images, rate, confidence):
    losses = allowed_losses(images, rate, confidence)
    assert -1 <= losses < images
    assert _at_most(losses, images, rate) <= 1 - confidence + 1e-9
    assert _at_most(losses + 1, images, rate) > 1 - confidence - 1e-9


@settings(max_examples=60, deadline=None)
@given(RATES, CONFIDENCES)
def test_the_needed_images_are_the_fewest(rate, confidence):
    images = needed_images(rate, confidence)
    assert allowed_losses(images, rate, confidence) >= 0
    assert images == 1 or allowed_losses(images - 1, rate, confidence) == -1
    assert smallest_rate(images, confidence) <= rate + 1e-9


# By the tables of Clopper and Pearson: the upper limit of 0 of 10 is 0.2589, of 1 of 10 0.3942.
@pytest.mark.parametrize(("losses", "limit"), [(0, 0.2589), (1, 0.3942), (5, 0.7776)])
def test_tabulated_limits(losses, limit):
    assert allowed_losses(10, limit + 1e-4, 0.95) == losses
    assert allowed_losses(10, limit - 1e-4, 0.95) == losses - 1


def test_many_images_do_not_underflow():
    assert 1900 < allowed_losses(100_000, 0.02, 0.95) < 2000
