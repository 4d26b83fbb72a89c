"""A network and the data that it is judged by, as the command line names them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn

from virtualpool import processes
from virtualpool.cli.data import Kind, Preparation
from virtualpool.cli.layouts import check_layout
from virtualpool.cli.network import Network, device_of, example_images, load_network
from virtualpool.cli.terminal import messages
from virtualpool.cli.understood import understood
from virtualpool.errors import VirtualPoolError
from virtualpool.graph.inputs import map_tensors
from virtualpool.graph.outputs import answer_in
from virtualpool.graph.random_numbers import seeded
from virtualpool.graph.running import evaluating
from virtualpool.measure.score import Evaluate
from virtualpool.recover.precision import Precision
from virtualpool.report import record, wording
from virtualpool.search.answers import answer_agreement
from virtualpool.search.run import Run
from virtualpool.tasks import classification, detection, segmentation
from virtualpool.tasks.detection import illustration as boxes
from virtualpool.tasks.detection.classes import class_count
from virtualpool.tasks.detection.found import found_in
from virtualpool.tasks.segmentation import illustration as masks
from virtualpool.tasks.segmentation.found import logits_in
from virtualpool.words import count, some

_BATCH_SIZES: dict[Kind, int] = {"classification": 128, "detection": 2, "segmentation": 4}


@dataclass(frozen=True)
class Task:
    """A network and the data that it is judged by.

    Attributes:
        kind: the network's task.
        module: the network, on its device.
        data: the images.
        images: example inputs on the same device: (1, 3, size, size), for segmentation an image of
            the data, for detection a list of one.
        metric: by which a detector is judged.
        settings: must be the same when a run goes on.
        understood: the network, the images and the device in words, by subject.
        labels: whether networks are judged by labels, or by agreement with this one's answers.
    """

    kind: Kind
    module: nn.Module
    data: classification.Classification | detection.Detection | segmentation.Segmentation
    images: Any
    metric: detection.Metric
    settings: dict[str, Any]
    understood: dict[str, str]
    labels: bool = True

    @property
    def training_batches(self) -> Any:
        """The batches to recover with."""
        if self.data.train is None:
            raise VirtualPoolError(
                "The data have no training images; add a folder train beside the test images, or "
                "leave out the training (--rounds 3 --recover none, no --recalibrate or "
                "--recoverable)."
            )
        return self.data.train

    def evaluator(self, mixed_precision: Precision = "no") -> Evaluate:
        """A judge of networks, on the test images."""
        test = self.data.test
        if not self.labels:
            return answer_agreement(self.module, test)
        if self.kind == "detection":
            return detection.evaluator(test, metric=self.metric, mixed_precision=mixed_precision)
        if self.kind == "segmentation":
            return segmentation.evaluator(test, mixed_precision=mixed_precision)
        return classification.evaluator(test, mixed_precision=mixed_precision)

    def illustrate(self, run_dir: Path) -> None:
        """Keeps pictures of a run's best model in the run: boxes or masks in some images."""
        run = record.read(run_dir)
        best, data = run.claim.point, self.data
        if run.frontier is None or best is None:
            return
        if isinstance(data, classification.Classification):
            return
        frontier, name = run.frontier, wording.title(best.name).lower()

        def drawn() -> Any:
            models = {"original": self.module, name: frontier.restore(self.module, best)}
            if isinstance(data, detection.Detection):
                return boxes.illustrated(models, data.splits["test"].images, data.classes)
            return masks.illustrated(models, data)

        Run(run_dir).remember(record.PICTURES, drawn, alone=True)

    def say_skipped(self) -> None:
        """Says how many images could not be read by any process since they were opened."""
        said = self._said()
        met = [name for name in self.data.skipped if name not in said]
        if skipped := [*dict.fromkeys(chain(*processes.gathered(met)))]:
            images, was = count(len(skipped), "image"), "was" if len(skipped) == 1 else "were"
            messages().print(f"{images} could not be read and {was} left out: {some(skipped)}")

    def _said(self) -> set[str]:
        """The images left out, and printed, when the data was opened."""
        if isinstance(self.data, classification.Classification):
            return set()
        return {str(path) for split in self.data.splits.values() for path in split.skipped}


def open_task(
    model: str,
    weights: str | None,
    source: str,
    preparation: Preparation,
    *,
    task: Kind,
    metric: detection.Metric,
    device: str | None,
    batch_size: int | None,
    subset: int | None,
    workers: int | None,
    seed: int,
    ignored: int = segmentation.IGNORED,
    labels: bool = True,
) -> Task:
    """Loads a network and opens the data, prepared for it.

    Processes that were launched together are connected by this.
    """
    where = device_of(device)
    processes.join(on_cpu=where.type == "cpu")
    size = batch_size or _BATCH_SIZES[task]
    shared = {"batch_size": size, "subset": subset, "workers": workers, "seed": seed}
    opening: Any = {
        "classification": partial(_for_classification, labels=labels),
        "detection": partial(_for_detection, labels=labels),
        "segmentation": partial(_for_segmentation, ignored=ignored, labels=labels),
    }[task]
    check_layout(source, task)
    # Random weights, too, are the same when a run goes on, and in all of several processes.
    with processes.main_first(), seeded(seed, "network"):
        network = load_network(model, weights)
        data, images, prepared = opening(network, source, preparation, shared)
    if task == "classification" and labels:
        check_logits(network.module, images, source, data.classes)
    said = understood(
        task, model, weights, network, source, data, preparation, prepared, where, labels=labels
    )
    for subject, what in said.items():
        messages().print(f"{subject + ':':<9}{what}")
    settings = {
        "data": source,
        "images": prepared,
        "test images": subset or "all",
        "batch size": size,
        "device": where.type,
    }
    if task != "classification":
        settings |= {"task": task}
        settings |= {"metric": metric} if task == "detection" else {"ignored": ignored}
    on_device = map_tensors(lambda tensor: tensor.to(where), images)
    return Task(task, network.module.to(where), data, on_device, metric, settings, said, labels)


def _for_classification(
    network: Network, source: str, preparation: Preparation, shared: dict[str, Any], *, labels: bool
) -> tuple[classification.Classification, Any, dict[str, Any]]:
    prepared = preparation.for_images(source, network)
    data = classification.load_data(source, preprocessing=prepared, labels=labels, **shared)
    return data, example_images(network, prepared.size), asdict(prepared)


def check_logits(
    network: nn.Module, images: torch.Tensor, source: str, classes: Sequence[str]
) -> None:
    """Refuses a classifier with fewer logits than the data has classes; says so of one with more.

    Raises:
        VirtualPoolError: it gives too few.
    """
    try:
        with evaluating(network), torch.no_grad():
            answer = answer_in(network(images))
    except Exception:  # whatever runs it next knows more about it
        return
    logits = answer.shape[1] if isinstance(answer, torch.Tensor) and answer.ndim == 2 else 0
    if logits in (0, len(classes)):
        return
    found = f"{source} has {len(classes)} classes ({some(classes, 5)})"
    if logits < len(classes):
        raise VirtualPoolError(
            f"{found}, and the network gives logits of {logits}; build it for as many."
        )
    messages().print(
        f"{found}, and the network gives logits of {logits}: the first class of the data is its "
        "logit 0. For as many as the data, build it in a file (FILE.py:FUNCTION)."
    )


def _for_detection(
    network: Network, source: str, preparation: Preparation, shared: dict[str, Any], *, labels: bool
) -> tuple[detection.Detection, Any, dict[str, Any]]:
    augmentation = preparation.for_boxes()
    data = detection.load_data(source, augmentation=augmentation, labels=labels, **shared)
    _say_left_out(source, data)
    if labels:
        _check_classes(network.module, source, data.classes)
    # A detector takes longer the more it finds, so it is timed on a real image.
    images = next((images for images, _ in data.test if images), None)
    if images is None:
        raise VirtualPoolError(f"{source}: no test image can be read.")
    with evaluating(network.module):
        found_in(images[:1], network.module)  # refuses other networks before tuning
    return data, images[:1], {"augmentation": augmentation}


def _for_segmentation(
    network: Network,
    source: str,
    preparation: Preparation,
    shared: dict[str, Any],
    *,
    ignored: int,
    labels: bool,
) -> tuple[segmentation.Segmentation, Any, dict[str, Any]]:
    prepared = preparation.for_masks()
    with evaluating(network.module), torch.no_grad():
        # How many classes there are is known by the network, where no file says their names.
        count = logits_in(network.module(torch.zeros(1, 3, _SIDE, _SIDE))).shape[1]
    given: Any = {"preparation": prepared, "ignored": ignored, "labels": labels}
    data = segmentation.load_data(source, classes=count, **given, **shared)
    _say_left_out(source, data)
    if len(data.classes) != count:
        raise VirtualPoolError(
            f"{source} has {len(data.classes)} classes ({some(data.classes, 5)}), and the network "
            f"gives logits of {count}; build it for as many."
        )
    images = next((images for images, _ in data.test if len(images)), None)
    if images is None:
        raise VirtualPoolError(f"{source}: no test image can be read.")
    return data, images[:1], asdict(prepared)


_SIDE = 64
"""Of an image by which a segmentation network is asked for the number of its classes."""


def _say_left_out(source: str, data: detection.Detection | segmentation.Segmentation) -> None:
    for name, split in data.splits.items():
        if left_out := split.left_out():
            messages().print(f"{source}, {name}: {left_out}")


def _check_classes(detector: nn.Module, source: str, classes: Sequence[str]) -> None:
    count = class_count(detector)
    if count is None or count == len(classes) + 1:
        return
    found = f"{source} has {len(classes)} classes ({some(classes, 5)})"
    if count <= len(classes):
        raise VirtualPoolError(
            f"{found}, and the detector {count} with the background; build it for as many."
        )
    messages().print(
        f"{found}, and the detector {count} with the background: label 1 is the first class "
        "of the data, and the detector may have learned another."
    )
