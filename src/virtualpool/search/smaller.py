"""The unmodified model on smaller images, fine-tuned for as long: pooling has to beat it."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from virtualpool.apply import apply
from virtualpool.graph.image_scale import without_resizing
from virtualpool.measure.latency import latency
from virtualpool.measure.macs import macs
from virtualpool.plan import plan_of
from virtualpool.processes import agreed, is_main, wait_for_all
from virtualpool.recover.round import Round
from virtualpool.search.frontier import Point
from virtualpool.search.resizing import refusal
from virtualpool.search.run.forms import SmallerTimes
from virtualpool.search.steps import Steps
from virtualpool.storage import load

SIDES = (0.75, 0.625, 0.5)
"""The parts of the images' side that are tried."""


def smaller_images(steps: Steps, rounds: int) -> tuple[list[Point], dict[str, str]]:
    """The unmodified model on images of each of `SIDES`; and by its name, why one is not there.

    Args:
        steps: of the search that the models are to be compared with.
        rounds: how many rounds its last model was fine-tuned in.
    """
    points, missing = [], {}
    for done, side in enumerate(SIDES):
        model = _Smaller(steps, rounds, side)
        steps.observer("smaller images", done, len(SIDES), model.name)
        if reason := model.refusal():
            missing[model.name] = reason
        else:
            points.append(model.point())
    steps.observer("smaller images", len(SIDES), len(SIDES), "done")
    return points, missing


@dataclass(frozen=True)
class _Smaller:
    """The unmodified model on images of one part of their side."""

    steps: Steps
    rounds: int
    side: float

    @property
    def name(self) -> str:
        """The name of the model, of its point and of its folder."""
        return f"smaller-{self.side:g}"

    @property
    def folder(self) -> Path:
        return self.steps.run.directory / self.name

    def refusal(self) -> str | None:
        """Why the model does not take such images, if it does not."""

        def compute() -> str | None:
            reason = refusal(self.steps.model, self.steps.example_inputs, self.side)
            if reason:
                self.steps.run.log(f"{self.name} is not compared: {reason}")
            return reason

        return self.steps.run.remember(self.folder / "missing.json", compute)

    def point(self) -> Point:
        """The results for the model; their file is the last that is written."""

        def measure() -> Any:
            self._recover()
            point = self._measured()
            self.steps.run.log(str(point))
            return point.to_json()

        return self.steps.run.remember(self.folder / "point.json", measure)

    def _recover(self) -> None:
        """Fine-tunes as the rounds did, one after the other, so for exactly as long."""
        *before, last = (self._file(index) for index in range(1, self.rounds + 1))
        if not agreed(last.exists()):
            for index in range(1, self.rounds + 1):
                if not agreed(self._file(index).exists()):
                    self._recover_as_in(index)
        if is_main():
            for path in before:
                path.unlink(missing_ok=True)
        wait_for_all()

    def _recover_as_in(self, index: int) -> None:
        model = self._as_after(index - 1)
        current = Round(
            index=index,
            added=(),
            plan=plan_of(model),
            directory=self._directory(index),
            learning_rate=self.steps.learning_rates[index - 1],
            epochs=self.steps.epochs[index - 1],
            training_steps=self.steps.training_steps[index - 1],
            evaluate=functools.partial(self.steps.judge, subject=f"a model of {self.folder}"),
            observer=self._observe,
        )
        name = f"{self.name}, as in {current.name}"
        self.steps.recovering.recover(model, current, self._file(index), name, self._again)

    def _measured(self) -> Point:
        # Trained and judged on images of full size that it resizes; timed without that: a camera
        # gives them smaller already, or they are resized only once.
        model = self._as_after(self.rounds)
        alone = without_resizing(model, self.steps.example_inputs)
        times = self._times(alone)
        energies = self.steps.models.energies_of(self.folder, lambda: alone)
        score = self.steps.score(self.folder, model)
        drop = self.steps.original_score - score
        return Point(
            name=self.name,
            accuracy=float(score),
            standard_error=score.standard_error,
            latency=times.smaller,
            baseline=times.unmodified,
            speedup=times.smaller.speedup_over(times.unmodified),
            macs=macs(*alone),
            plan=plan_of(model),
            weights=self._file(self.rounds).relative_to(self.steps.run.directory).as_posix(),
            metrics=score.metrics,
            drop=float(drop),
            drop_standard_error=drop.standard_error,
            energy=energies.kept,
            energy_baseline=energies.unmodified,
            missing=energies.reasons,
            unit=score.unit,
        )

    def _times(self, model: tuple[nn.Module, Any]) -> SmallerTimes:
        """How long the model takes, interleaved with the unmodified one on images of full size."""

        def compute() -> Any:
            models = {"unmodified": self.steps.model, "smaller": model}
            found = latency(models, self.steps.example_inputs, **self.steps.latency)
            return SmallerTimes(**found).to_json()

        return self.steps.run.remember(self.folder / "times.json", compute, alone=True)

    def _as_after(self, index: int) -> nn.Module:
        """The model as it was after so many rounds of fine-tuning."""
        if index:
            return self._again(self._file(index))
        return apply(self.steps.model, self.steps.example_inputs, [], image_scale=self.side)

    def _again(self, path: Path) -> nn.Module:
        return load(self.steps.model, path)

    def _file(self, index: int) -> Path:
        folder = self.folder if index == self.rounds else self._directory(index)
        return folder / "model.safetensors"

    def _directory(self, index: int) -> Path:
        return self.folder / self.steps.run.folder(index).name

    def _observe(self, stage: str, done: int, total: int, message: str) -> None:
        self.steps.observer(f"{self.name} {stage}", done, total, message)
