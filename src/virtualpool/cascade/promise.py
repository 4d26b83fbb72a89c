"""How much may be lost for a promise: exact for lost images, bounded for losses between."""

import math

_ROUNDING = 1e-12
_BISECTIONS = 60


def allowed_losses(images: int, rate: float, confidence: float) -> int:
    """The most lost images with which a rate of losses above `rate` can be ruled out.

    It is the largest k for which P(Binomial(`images`, `rate`) <= k) is at most 1 - `confidence`;
    with up to k losses the upper limit of Clopper and Pearson (1934) is `rate` or less.

    Args:
        images: that were tried, independent of each other.
        rate: the share of losses to rule out, over 0 and under 1.
        confidence: over 0 and under 1.

    Returns:
        The number of losses; -1 where so few images rule out nothing.

    >>> allowed_losses(1000, 0.01, 0.95), allowed_losses(299, 0.01, 0.95)
    (4, 0)
    >>> allowed_losses(298, 0.01, 0.95)
    -1
    """
    log_odds = math.log(rate) - math.log1p(-rate)
    most = math.log(1 - confidence) + _ROUNDING
    term = total = images * math.log1p(-rate)  # log P(0 losses), log P(0 losses at most)
    losses = -1
    while total <= most:
        losses += 1
        term += math.log(images - losses) - math.log(losses + 1) + log_odds
        total = max(total, term) + math.log1p(math.exp(-abs(total - term)))
    return losses


def allowed_loss(images: int, rate: float, confidence: float) -> float:
    """The largest sum of losses in [0, 1] with which a mean loss above `rate` can be ruled out.

    Source: the bound of Hoeffding and Bentkus, in Bates et al., Distribution-free, risk-controlling
    prediction sets, 2021. The p-value of a mean loss m is the smaller one of
    exp(-N h(m, rate)), h the relative entropy of two coins, and
    e P(Binomial(N, rate) <= ceil(N m)).

    Args:
        images: that were tried, independent of each other.
        rate: the mean loss to rule out, over 0 and under 1.
        confidence: over 0 and under 1.

    Returns:
        The sum; -1 where so few images rule out nothing.

    >>> round(allowed_loss(100, 0.1, 0.95), 2), allowed_loss(20, 0.1, 0.95)
    (3.55, -1.0)
    """
    bentkus = allowed_losses(images, rate, 1 - (1 - confidence) / math.e)
    if images < needed_images(rate, confidence):
        return float(bentkus)
    needed = -math.log(1 - confidence) / images
    low, high = 0.0, rate
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _entropy(middle, rate) >= needed else (low, middle)
    return max(images * low, float(bentkus))


def _entropy(one: float, other: float) -> float:
    """The relative entropy of a coin to another one, by their probabilities, in nats."""
    first = one * math.log(one / other) if one else 0.0
    return first + (1 - one) * math.log((1 - one) / (1 - other))


def needed_images(rate: float, confidence: float) -> int:
    """The fewest images, none of them lost, that rule out a rate of losses above `rate`.

    >>> needed_images(0.01, 0.95)
    299
    """
    return math.ceil(math.log(1 - confidence) / math.log1p(-rate) - _ROUNDING)


def smallest_rate(images: int, confidence: float) -> float:
    """The smallest rate of losses that so many images can rule out: with none of them lost.

    >>> round(smallest_rate(299, 0.95), 4)
    0.01
    """
    return -math.expm1(math.log(1 - confidence) / images)
