"""Accuracy of a classification network."""

import functools
from collections.abc import Callable, Iterable
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from virtualpool import processes
from virtualpool.errors import VirtualPoolError
from virtualpool.graph.outputs import answer_in
from virtualpool.graph.running import evaluating
from virtualpool.measure.bench import device_of
from virtualpool.measure.score import Score
from virtualpool.measure.unit import Unit
from virtualpool.recover.precision import Precision, autocast

TOP5_CLASSES = 6
"""With fewer classes than this, top-5 says nothing."""


def evaluator(
    batches: Iterable[Any], *, mixed_precision: Precision = "no"
) -> Callable[[nn.Module], Score]:
    """Makes an `evaluate(model)` that gives the top-1 accuracy over labelled batches.

    The model runs where its parameters are, in eval mode, without gradients; its training flags
    are as before afterwards. The score knows its standard error, whether each image was right,
    and in its metrics "top1" and, from six classes on, "top5".

    Of several processes each takes its share of the batches of a `DataLoader`, and all get the
    score of all images.

    Args:
        batches: pairs of (N, C, H, W) images and (N,) labels, such as `load_data(...).test`.
        mixed_precision: "no", or "bf16" or "fp16" to run under autocast.

    Returns:
        A function of a model that gives a `Score`, a share from 0 to 1.

    Raises (when called):
        VirtualPoolError: the model gives something else than (N, classes), another number of
            classes than the data have, or there is no image.
    """
    share = functools.cache(lambda: _share(batches))  # not before the processes are connected

    def evaluate(model: nn.Module) -> Score:
        device = device_of(model)
        mine: list[Tensor | None] = []
        with evaluating(model), torch.inference_mode(), autocast(device, mixed_precision):
            for images, labels in share():
                if not len(labels):
                    mine.append(None)
                    continue
                outputs = answer_in(model(images.to(device, memory_format=torch.channels_last)))
                _check_data(outputs, labels, getattr(batches, "dataset", None))
                mine.append(_hits(outputs.float(), labels.to(device)))
        # Only now: each copy to the CPU waits for the device.
        mine = [None if hits is None else hits.cpu() for hits in mine]
        every = [mine] if share() is batches else processes.gathered(mine)
        return _score([hits for turn in zip_longest(*every) for hits in turn if hits is not None])

    return evaluate


def _share(batches: Any) -> Any:
    """Every n-th batch of a `DataLoader`; this process decodes no others."""
    if not processes.is_connected() or type(batches) is not DataLoader:
        return batches
    from accelerate.data_loader import prepare_data_loader

    return prepare_data_loader(
        batches,
        num_processes=processes.count(),
        process_index=processes.rank(),
        even_batches=False,
    )


def _hits(outputs: Tensor, labels: Tensor) -> Tensor:
    """Whether the label of each image is the first, and whether it is among the first five.

    Shape (N, 2), or (N, 1) where there are too few classes for the second.
    """
    hits = [outputs.argmax(1) == labels]
    if outputs.shape[1] >= TOP5_CLASSES:
        hits.append((outputs.topk(5).indices == labels[:, None]).any(1))
    return torch.stack(hits, 1)


def _score(hits: list[Tensor]) -> Score:
    if not hits:
        raise VirtualPoolError("There is no image to evaluate on: every batch was empty.")
    columns = torch.cat(hits).unbind(1)
    named = zip(("top1", "top5"), columns, strict=False)
    metrics = {name: round(column.double().mean().item(), 6) for name, column in named}
    return Score.of(columns[0], metrics=metrics, unit=Unit("accuracy"))


def check_classes(outputs: Any, labels: Tensor) -> None:
    """Refuses outputs that are not logits, and labels that they have no class for."""
    _check_logits(outputs)
    highest = int(labels.max())
    if highest >= outputs.shape[1]:
        raise VirtualPoolError(
            f"The model has {outputs.shape[1]} outputs, the data a label {highest}; "
            "give a model with as many outputs as the data have classes."
        )


def _check_logits(outputs: Any) -> None:
    if not isinstance(outputs, Tensor) or outputs.ndim != 2:
        given = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise VirtualPoolError(
            f"The model gives {given}; classification expects logits of shape (N, classes), by "
            "themselves or as `logits`. A detector is judged by virtualpool.tasks.detection "
            "(--task detection)."
        )


def _check_data(outputs: Any, labels: Tensor, dataset: Any) -> None:
    _check_logits(outputs)
    classes = getattr(dataset, "classes", None)
    if classes is not None and len(classes) != outputs.shape[1]:
        raise VirtualPoolError(
            f"The model has {outputs.shape[1]} outputs, the data {len(classes)} classes; "
            "give a model with as many outputs as the data have classes."
        )
    check_classes(outputs, labels)
