"""A score without labels: how often a model's answer is the original's."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from virtualpool.cascade.collecting import are_findings
from virtualpool.cascade.detectors import COUNTED, f1
from virtualpool.cascade.masks import mean_iou
from virtualpool.errors import VirtualPoolError
from virtualpool.graph.inputs import call, for_model, map_tensors
from virtualpool.graph.outputs import answer_in
from virtualpool.graph.running import evaluating
from virtualpool.measure.boxes import Found, as_sure_as
from virtualpool.measure.masks import at_size
from virtualpool.measure.score import Score
from virtualpool.measure.unit import Unit
from virtualpool.recover.batches import images_of
from virtualpool.search.agreement import comparing, output_agreement

_log = logging.getLogger(__name__)
_UNIT = Unit("agreement")
_ENOUGH = 10
"""Images from which on one class for all of them is no chance."""
_NONE = -1
"""The number of pixels that do not count; there are none."""


def answer_agreement(original: nn.Module, batches: Iterable[Any]) -> Callable[[nn.Module], Score]:
    """Makes an `evaluate(model)` from images without labels: the original's answers count as true.

    The score is a mean over the images, with its standard error. Of each image it is

    - for logits (N, classes): 1 where the first class is the original's, else 0;
    - for maps of logits (N, classes, H, W): the mean IoU of the mask with the original's;
    - for a detector's findings: the F1 of the boxes with the original's, of a score of 0.5 and up.

    Other outputs, and a detector that finds nothing, are compared by `output_agreement`.

    >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> evaluate = answer_agreement(network, [torch.rand(2, 3, 8, 8)])
    >>> print(evaluate(network))
    1.0000 ± 0.0000

    Args:
        original: the network to agree with; its answers for all images are kept in memory.
        batches: images, or pairs of images and labels, which are not used; they are gone through
            once or twice now and once in each evaluation, and must be the same each time.

    Returns:
        A function of a model that gives a `Score` between 0 and 1.

    Raises:
        VirtualPoolError: there are no batches, or they can be gone through only once or differ from
            the first time.
    """
    answers: list[Any] = []

    def asked(batch: Any) -> Any:
        answers.append(_answer(_output(original, batch)))
        return answers[-1]

    evaluate = comparing(batches, asked, _compared, _UNIT)
    if any(each is None for each in answers):
        return output_agreement(original, batches)
    if not any(isinstance(each, Tensor) or _counts(each) for each in answers):
        _log.warning(
            "The original finds no box with a score of %g, so outputs are compared in place of "
            "boxes.",
            COUNTED,
        )
        return output_agreement(original, batches)
    _warn_of_one_class(answers)
    return evaluate


def _warn_of_one_class(answers: list[Any]) -> None:
    classes = [each for each in answers if isinstance(each, Tensor) and each.ndim == 1]
    if (images := sum(map(len, classes))) < _ENOUGH:
        return
    if len(torch.cat(classes).unique()) == 1:
        _log.warning(
            "The original gives one class for all %d images, as random weights do, and then most "
            "networks agree with it. Give trained weights, or images of several classes.",
            images,
        )


def _output(model: nn.Module, batch: Any) -> Any:
    with evaluating(model):
        return answer_in(call(model, for_model(images_of(batch), model)))


def _answer(output: Any) -> Tensor | list[Found] | None:
    """Classes (N,), masks (N, H, W), or findings, on the CPU; None of other outputs."""
    if are_findings(output):
        return [as_sure_as(COUNTED, map_tensors(Tensor.cpu, each)) for each in output]
    has_logits = isinstance(output, Tensor) and output.is_floating_point()
    if has_logits and output.ndim in (2, 4) and output.shape[1] > 1:
        return output.argmax(1).cpu()
    return None


def _counts(findings: list[Found]) -> bool:
    return any(len(each["boxes"]) for each in findings)


def _compared(model: nn.Module, batch: Any, expected: Any) -> Tensor:
    """The agreement of each image, (N,)."""
    output = _output(model, batch)
    answer = _answer(output)
    if type(answer) is not type(expected):
        raise VirtualPoolError(
            f"{type(model).__name__} gives another kind of outputs than the original; give the "
            "same network, pooled."
        )
    if isinstance(answer, list):
        return torch.tensor([f1(*pair) for pair in zip(answer, expected, strict=True)])
    if expected.ndim == 1:
        return (answer == expected).float()
    mask = at_size(output, expected.shape[1:]).argmax(1).cpu()
    return mean_iou(mask, expected, output.shape[1], _NONE).float()
