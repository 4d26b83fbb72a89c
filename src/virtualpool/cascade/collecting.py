"""Two or more models' outputs for the images of a calibration: logits, or refused by name."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from virtualpool.cascade.calibrating import Outputs
from virtualpool.errors import VirtualPoolError
from virtualpool.graph.inputs import call, for_model
from virtualpool.graph.running import evaluating
from virtualpool.recover.batches import images_of


def collected(
    fast: Mapping[str, nn.Module], original: nn.Module, batches: Iterable[Any]
) -> tuple[dict[str, Outputs], Any]:
    """The outputs of fast models, each beside the original's, and the images of the first batch.

    Args:
        fast: models by name.
        original: the model that they are compared with.
        batches: of images (N, C, H, W), or pairs of images and labels (N,); gone through once.

    Raises:
        VirtualPoolError: there are no batches, an output is no finite (N, classes) of two classes
            or more, two models have other classes, or labels are no numbers of classes.
    """
    slow: list[Tensor] = []
    labels: list[Tensor | None] = []
    found: dict[str, list[Tensor]] = {name: [] for name in fast}
    first = None
    for batch in batches:
        images = images_of(batch)
        first = images if first is None else first
        slow.append(_logits(original, "the original", images))
        labels.append(_labels(batch, slow[-1]))
        for name, model in fast.items():
            logits = _logits(model, name, images)
            if logits.shape != slow[-1].shape:
                raise VirtualPoolError(
                    f"{name} gives {tuple(logits.shape)} where the original gives "
                    f"{tuple(slow[-1].shape)}; give two models of the same classes."
                )
            found[name].append(logits)
    if not slow:
        raise VirtualPoolError("The calibration has no batches; give at least one.")
    every, right = torch.cat(slow), _all_or_none(labels)
    return {name: Outputs(torch.cat(those), every, right) for name, those in found.items()}, first


def _logits(model: nn.Module, name: str, images: Any) -> Tensor:
    """(N, classes) on the CPU."""
    with evaluating(model):
        given = for_model(images, model)
        output = call(model, given)
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != len(given):
        shown = (
            f"a tensor {tuple(output.shape)}"
            if isinstance(output, Tensor)
            else f"a {type(output).__name__}"
        )
        raise VirtualPoolError(
            f"A cascade needs logits (N, classes), and {name}, a {type(model).__name__}, gives "
            f"{shown}. Wrap it so that it gives logits; detectors have no cascade yet."
        )
    if output.shape[1] < 2:
        raise VirtualPoolError(
            f"{name}, a {type(model).__name__}, tells one class, so nothing says how sure it is. "
            "Give two columns, such as 0 and the logit, for a yes or no."
        )
    if broken := int((~output.isfinite().all(1)).sum()):
        raise VirtualPoolError(
            f"{name}, a {type(model).__name__}, gives nan or infinity for {broken} of "
            f"{len(output)} images. Look for the layer that gives them, or another precision."
        )
    return output.cpu()


def _labels(batch: Any, logits: Tensor) -> Tensor | None:
    if isinstance(batch, Tensor) or len(batch) < 2 or batch[1] is None:
        return None
    labels, classes = batch[1], logits.shape[1]
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


def _all_or_none(labels: list[Tensor | None]) -> Tensor | None:
    known = [each for each in labels if each is not None]
    if known and len(known) < len(labels):
        raise VirtualPoolError(
            f"{len(known)} of {len(labels)} batches have labels. Give them for all, or for none."
        )
    return torch.cat(known) if known else None
