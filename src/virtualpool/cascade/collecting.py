"""Two or more models' outputs for the images of a calibration, or refused by name."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from virtualpool.cascade.calibrating import Compared
from virtualpool.cascade.classifiers import Outputs
from virtualpool.cascade.detectors import Detections
from virtualpool.cascade.masks import Masks
from virtualpool.errors import VirtualPoolError
from virtualpool.graph.inputs import call, for_model, labels_in, map_tensors
from virtualpool.graph.outputs import answer_in
from virtualpool.graph.running import evaluating
from virtualpool.measure.boxes import Found
from virtualpool.measure.masks import IGNORED
from virtualpool.recover.batches import images_of

_BOXES = {"boxes", "scores", "labels"}
Answers = Tensor | list[Found]
"""Logits (N, classes) or a detector's findings in N images, on the CPU; or maps of logits."""


def collected(
    fast: Mapping[str, nn.Module], original: nn.Module, batches: Iterable[Any]
) -> tuple[dict[str, Compared], Any]:
    """The outputs of fast models, each beside the original's, and the images of the first batch.

    Args:
        fast: models by name.
        original: the model that they are compared with.
        batches: of images (N, C, H, W), or pairs of images and labels (N,); of a detector, pairs
            of a list of images and a list of true boxes, or tuples of the first alone; of a
            segmentation network, pairs of images and masks (N, H, W). Gone through once.

    Raises:
        VirtualPoolError: there are no batches, an output is no finite (N, classes, ...) of two
            classes or more and no findings, two models have other classes, or labels are none.
    """
    labels: list[Any] = []
    found: dict[str, list[Any]] = {name: [] for name in fast}
    ignored = getattr(getattr(batches, "dataset", None), "ignored", IGNORED)
    first = None
    for batch in batches:
        images = images_of(batch)
        first = images if first is None else first
        slow = _answers(original, "the original", images)
        labels.append(_labels(batch, slow))
        for name, model in fast.items():
            answers = _answers(model, name, images)
            _check_alike(name, answers, slow)
            found[name].append(_beside(answers, slow, labels[-1], ignored))
    if not labels:
        raise VirtualPoolError("The calibration has no batches; give at least one.")
    _check_all_or_none(labels)
    return {name: type(parts[0]).joined(parts) for name, parts in found.items()}, first


def _beside(fast: Any, slow: Any, labels: Any, ignored: int) -> Compared:
    if not isinstance(slow, Tensor):
        return Detections(fast, slow, labels)
    return Outputs(fast, slow, labels) if slow.ndim == 2 else Masks.of(fast, slow, labels, ignored)


def _answers(model: nn.Module, name: str, images: Any) -> Answers:
    with evaluating(model):
        given = for_model(images, model)
        output = answer_in(call(model, given))
    if are_findings(output):
        return map_tensors(Tensor.cpu, output)
    return _logits(output, f"{name}, a {type(model).__name__},", len(given))


def are_findings(output: Any) -> bool:
    """Whether an output is a detector's: a list with boxes, scores and labels of each image."""
    return isinstance(output, list) and all(
        isinstance(each, dict) and each.keys() >= _BOXES for each in output
    )


def _logits(output: Any, who: str, images: int) -> Tensor:
    """(N, classes) on the CPU, or (N, classes, h, w) where they are."""
    if not isinstance(output, Tensor) or output.ndim not in (2, 4) or len(output) != images:
        shown = (
            f"a tensor {tuple(output.shape)}"
            if isinstance(output, Tensor)
            else f"a {type(output).__name__}"
        )
        raise VirtualPoolError(
            "A cascade needs logits (N, classes), maps of them (N, classes, h, w) or a detector's "
            f"boxes, and {who} gives {shown}. Wrap it so that it gives logits."
        )
    if output.shape[1] < 2:
        raise VirtualPoolError(
            f"{who} tells one class, so nothing says how sure it is. Give two columns, such as 0 "
            "and the logit, for a yes or no."
        )
    if broken := int((~output.flatten(1).isfinite().all(1)).sum()):
        raise VirtualPoolError(
            f"{who} gives nan or infinity for {broken} of {len(output)} images. Look for the layer "
            "that gives them, or another precision."
        )
    return output.cpu() if output.ndim == 2 else output


def _check_alike(name: str, fast: Answers, slow: Answers) -> None:
    if _kind(fast) != _kind(slow):
        raise VirtualPoolError(
            f"{name} is a {_kind(fast)} and the original a {_kind(slow)}; give two of one kind."
        )
    if isinstance(fast, Tensor) and isinstance(slow, Tensor) and fast.shape[:2] != slow.shape[:2]:
        raise VirtualPoolError(
            f"{name} gives {tuple(fast.shape)} where the original gives {tuple(slow.shape)}; "
            "give two models of the same classes."
        )


def _kind(answers: Answers) -> str:
    if not isinstance(answers, Tensor):
        return "detector"
    return "classifier" if answers.ndim == 2 else "segmentation network"


def _labels(batch: Any, answers: Answers) -> Tensor | list[Found] | None:
    labels = labels_in(batch)
    if labels is None:
        return None
    if isinstance(answers, Tensor):
        return _classes(labels, answers) if answers.ndim == 2 else _masks(labels, answers)
    return _true_boxes(labels, len(answers))


def _classes(labels: Any, logits: Tensor) -> Tensor:
    classes = logits.shape[1]
    if (
        not isinstance(labels, Tensor)
        or labels.shape != logits.shape[:1]
        or labels.is_floating_point()
        or bool(((labels < 0) | (labels >= classes)).any())
    ):
        raise VirtualPoolError(
            f"The labels of a batch are no {len(logits)} numbers of classes from 0 to "
            f"{classes - 1}. Give an integer tensor (N,), or images alone."
        )
    return labels.cpu().long()


def _masks(masks: Any, logits: Tensor) -> Tensor:
    is_whole = isinstance(masks, Tensor) and masks.ndim == 3 and not masks.is_floating_point()
    if not is_whole or len(masks) != len(logits):
        raise VirtualPoolError(
            f"The labels of a batch are no {len(logits)} masks. Give an integer tensor (N, H, W) "
            "with the number of a class at each pixel, or images alone."
        )
    return masks


def _true_boxes(targets: Any, images: int) -> list[Found]:
    is_list = isinstance(targets, Sequence) and len(targets) == images
    if not is_list or not all(
        isinstance(each, dict) and each.keys() >= {"boxes", "labels"} for each in targets
    ):
        raise VirtualPoolError(
            f"The targets of a batch are no list of {images} dicts with boxes and labels. Give one "
            "for each image, or a tuple of the images alone."
        )
    return [map_tensors(Tensor.cpu, each) for each in targets]


def _check_all_or_none(labels: Sequence[Any]) -> None:
    known = [each for each in labels if each is not None]
    if known and len(known) < len(labels):
        raise VirtualPoolError(
            f"{len(known)} of {len(labels)} batches have labels. Give them for all, or for none."
        )
