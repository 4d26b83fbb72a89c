"""The common parts of a run's variants: the network, the images, the budget."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from virtualpool.measure.latency import LatencyOptions
from virtualpool.measure.score import Evaluate, judge
from virtualpool.search import Run, Score, Sensitivity, sensitivity
from virtualpool.search.run.models import Models


@dataclass(frozen=True)
class Setup:
    """The networks, data, judge and timing of a variant.

    Attributes:
        run: the directory that keeps whatever is found.
        network: All-CNN-C, trained.
        images: (N, 3, 32, 32), for timing.
        train: batches of (images, labels), gone through once an epoch.
        test: the same of the test images.
        evaluate: the accuracy on them.
        watch: the same on a part of them, for the journals of trainings.
        device: where variants are trained and judged; they are timed on the processor.
        epochs: the epochs of each training of a variant, all its rounds together.
        training: the settings of `Training`, but for the seed.
        latency: the options of `virtualpool.measure.latency`.
    """

    run: Run
    network: nn.Module
    images: Tensor
    train: Iterable[Any]
    test: Iterable[Any]
    evaluate: Evaluate
    watch: Evaluate
    device: torch.device
    epochs: float
    training: dict[str, Any]
    latency: LatencyOptions

    @property
    def image(self) -> Tensor:
        """The images for tracing."""
        return self.images[:1]

    @property
    def directory(self) -> Path:
        """Where the run lives."""
        return self.run.directory

    @cached_property
    def original(self) -> Score:
        """The score of the network as it was given."""

        def compute() -> Any:
            return judge(self.evaluate, self.network, "the network").summary.to_json()

        return Score.from_json(self.run.remember("original.json", compute))

    @cached_property
    def sensitivity(self) -> Sensitivity:
        """The sites, the most robust first."""
        path = self.directory / "sensitivity.json"
        return sensitivity(
            self.network, self.image, self.evaluate, baseline=self.original, path=path
        )

    @cached_property
    def saved_ms(self) -> dict[str, float]:
        """Milliseconds that each site saves when it alone is pooled."""
        models = Models(self.run, self.network, self.images, self.latency)
        return {
            name: self.run.remember(f"time-saved/{name}.json", partial(models.saved_ms, name))
            for name in self.sensitivity.names
        }
