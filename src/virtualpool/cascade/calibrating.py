"""From two models' outputs to the threshold that keeps a promise."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from virtualpool.cascade.classifiers import FITTING, Outputs
from virtualpool.cascade.detectors import Detections
from virtualpool.cascade.judged import Outcome, Share
from virtualpool.cascade.masks import Masks
from virtualpool.cascade.promise import allowed_loss, allowed_losses, needed_images, smallest_rate
from virtualpool.errors import VirtualPoolError
from virtualpool.schema import Positive

Score = Literal["accuracy", "F1", "IoU"]
Compared = Outputs | Detections | Masks
"""Two models' answers for the same images, of whichever task."""

_SUREST = 1 - 1e-9
_COARSEST = 0.01
"""Where no drop is allowed, a set that cannot rule out this one is too small."""


@dataclass(frozen=True)
class Calibration:
    """The rule of a cascade, and what it did with the images that it was chosen with.

    Attributes:
        temperature: divides the fast model's logits.
        threshold: the fast model answers where its margin is above it; below 0 it always does.
        max_drop: the drop that was allowed.
        promised: the drop that is not exceeded with `confidence`: `max_drop`, or where that is 0
            the smallest that so many images can promise.
        confidence: the probability of the promise.
        labelled: whether there were labels; otherwise a drop is disagreement with the original.
        outcome: the outcome on the images that chose the threshold.
        score: the mean over images that may drop: of classifiers the accuracy, of detectors the
            F1 of an image's boxes, of segmentation networks the mean IoU of an image's classes.
    """

    temperature: Positive
    threshold: Annotated[float, msgspec.Meta(ge=-1, le=1)]
    max_drop: Share
    promised: Share
    confidence: Share
    labelled: bool
    outcome: Outcome
    score: Score = "accuracy"


def calibrated(
    outputs: Compared,
    *,
    max_drop: float = 0.0,
    confidence: float = 0.95,
    tests: int = 1,
) -> Calibration:
    """The smallest threshold that keeps the drop within `max_drop`, with probability `confidence`.

    An image is lost where the original has it right and the cascade wrong. The drop is at most the
    share of lost images: those that the cascade alone has right are not set against them.

    The hypothesis "at this threshold more than `max_drop` is lost" is tested by the exact binomial
    test, from the highest threshold downwards, and the last one before the first that is not
    rejected is taken: fixed-sequence testing of Angelopoulos et al., Learn then test, 2021. The
    losses can only grow on the way, so all values in between may count as tested. Every 20th
    image fits the temperature and takes no part, so that the margin is fixed before the tests.
    A detector's loss is how much lower the F1 of an image's boxes is, and a segmentation network's
    the mean IoU of the classes in an image: any number from 0 to 1. The test is then of Hoeffding
    and Bentkus, as in the same paper.

    Promised is: over draws of the calibration set, with probability `confidence` at least, the
    cascade loses no more than `promised` of all images of the source. The images must be drawn
    from it independently, and neither model may have been trained or chosen with them.

    Args:
        outputs: of the calibration images.
        max_drop: 0 to below 1. No finite set can promise 0: then no image of the set is lost, and
            promised is the smallest share that this rules out, 3 / N for 95 %.
        confidence: over 0 and under 1.
        tests: how many fast models are tried, of which one will be chosen: each is tested at
            (1 - `confidence`) / `tests`, so the choice costs no confidence.

    Raises:
        VirtualPoolError: there are too few images, or a number is out of range.

    >>> import torch
    >>> from torch.nn.functional import one_hot
    >>> right = torch.arange(400) % 5
    >>> fast, slow = (size * one_hot(right, 5) for size in (8.0, 9.0))
    >>> found = calibrated(Outputs(fast, slow, right), max_drop=0.01)
    >>> found.outcome
    Outcome(images=380, answered=1.0, lost=0, won=0)
    """
    _check(max_drop, confidence)
    tested = 1 - (1 - confidence) / tests
    is_whole = isinstance(outputs, Outputs)
    _check_size(outputs, max_drop, tested)
    temperature, rest = outputs.fitted()
    judged = rest.judged(temperature)
    allows = allowed_losses if is_whole else allowed_loss
    threshold = judged.threshold(allows(len(rest), max_drop, tested) if max_drop else 0)
    return Calibration(
        temperature,
        threshold,
        max_drop,
        max_drop or smallest_rate(len(rest), tested),
        confidence,
        outputs.labels is not None,
        judged.outcome(threshold),
        outputs.score,
    )


def outcome(outputs: Compared, temperature: float, threshold: float) -> Outcome:
    """The outcome of a cascade with this temperature and threshold."""
    return outputs.judged(temperature).outcome(threshold)


def _check(max_drop: float, confidence: float) -> None:
    if not 0 <= max_drop < 1:
        raise VirtualPoolError(
            f"max_drop is {max_drop}; give a share from 0 to below 1, such as 0.01 for one point."
        )
    if not 0 < confidence <= _SUREST:
        raise VirtualPoolError(
            f"confidence is {confidence}; give a probability above 0 and below 1, such as 0.95."
        )


def _check_size(outputs: Compared, max_drop: float, confidence: float) -> None:
    needed = needed_images(max_drop or _COARSEST, confidence)
    if outputs.testing < needed:
        # One in FITTING fits the temperature, the first image too; a detector has none.
        is_fitted = isinstance(outputs, Outputs)
        whole = math.ceil(needed * FITTING / (FITTING - 1)) if is_fitted else needed
        promise = (
            f"a drop of at most {max_drop:g}"
            if max_drop
            else f"any drop below {_COARSEST:g}, which max_drop=0 asks for at least"
        )
        raise VirtualPoolError(
            f"{len(outputs)} calibration images cannot promise {promise} with this confidence: "
            f"{whole} are needed. Give more images, a larger max_drop or a lower confidence."
        )
