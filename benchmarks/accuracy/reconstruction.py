"""Accuracy of a pooled classifier, reconstructed without labels, then trained, and smaller images.

    python -m benchmarks.accuracy.reconstruction virtualpool:all_cnn_c --weights cifar10 \
        --data cifar10 --run-dir runs/reconstruction --plan "five sites" convs.1 convs.3 ...

Each plan is reconstructed with the same training images, whose labels are not read, and judged on
the test images. Beside it stands the unmodified network on smaller images, with as many
multiply-accumulates. With `--epochs` both are then trained alike, towards the original's outputs
and maps. Every number is kept in the run's directory: stopped, the program goes on.
"""

import time
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import virtualpool as vp
from benchmarks.common.classifiers import add_training, opened, parser, plans
from benchmarks.common.setting import command, setting
from benchmarks.common.tables import table
from benchmarks.common.training import part_of
from virtualpool.cli.task import Task
from virtualpool.files import write_text
from virtualpool.search import Round, Run, by_distillation
from virtualpool.tasks.classification import evaluator

HEAD = ["plan", "sites", "MACs", "pooled", "reconstructed", "seconds"]
SMALLER = ["side", "MACs", "smaller images"]


def main() -> None:
    given = arguments()
    task = opened(given, "none")
    subject = Subject(task, given)
    rows = [subject.row(name, sites) for name, sites in plans(given, task)]
    trained = [f"trained, {given.epochs:g} epochs"] if given.epochs else []
    text = (
        f"{given.model}: {given.images} training images without labels solve, "
        f"{subject.judged} test images judge. Unmodified: {subject.original:.1f} %.\n\n"
        f"{table([*HEAD, *trained, *SMALLER, *trained], rows)}\n"
        f"{setting(torch.get_num_threads(), ['torch'])}, seed {given.seed}\n\n    {command()}\n"
    )
    print(text)
    write_text(given.run_dir / "table.md", text)


def arguments() -> Namespace:
    added = parser(__doc__)
    add_training(added, 0, "of a training behind")
    return added.parse_args()


@dataclass(frozen=True)
class Training:
    """How models are distilled from the original."""

    batches: Any
    settings: dict[str, Any]

    def of(self, model: nn.Module, original: nn.Module, directory: Path, judge: Any) -> None:
        """Trains a model in place; a training that was stopped goes on."""
        finetune = by_distillation(original, self.batches, **self.settings)
        finetune(model, Round(1, (), vp.plan_of(model), directory, None, None, judge))


def training_of(given: Namespace) -> Training:
    """The training that the options ask for, with images that are cropped and flipped."""
    varied: Any = opened(given, "crop").training_batches
    settings = {"epochs": given.epochs, "seed": given.seed}
    if given.learning_rate:
        settings["learning_rate"] = given.learning_rate
    return Training(part_of(varied, given.train_images, given.seed), settings)


class Subject:
    """A network, and the rows that are measured of it."""

    def __init__(self, task: Task, given: Namespace) -> None:
        self.model, self.example = task.module.eval(), task.images
        self.run, self.border = Run(given.run_dir), given.border
        self.judge = evaluator(task.data.test)
        self.solving = task.data.some_training_images(given.images, given.seed)
        self.training = training_of(given) if given.epochs else None
        self.original = self._score("original", lambda: self.model)
        test: Any = task.data.test.dataset
        self.judged = len(test)

    def row(self, name: str, sites: list[str]) -> list[str]:
        """The cells of a plan, and beside them of the smaller image with as many MACs."""
        pooled = vp.apply(self.model, self.example, sites, border=self.border)
        whole = vp.measure.macs(self.model, self.example)
        macs = vp.measure.macs(pooled, self.example)
        solved, seconds = self._solved(name, pooled)
        side = self._side(macs)
        smaller = vp.apply(self.model, self.example, [], image_scale=side / self.example.shape[-1])
        cells = [name, str(len(sites)), f"1/{whole / macs:.2f}"]
        cells += [f"{self._score(f'{name}, pooled', lambda: pooled):.1f} %"]
        cells += [f"{self._score(f'{name}, solved', lambda: solved):.1f} %", f"{seconds:.0f}"]
        cells += self._trained(f"{name}, trained", solved)
        reduced = vp.measure.macs(self.model, self._images(side))
        cells += [f"{side} pixels", f"1/{whole / reduced:.2f}"]
        cells += [f"{self._score(f'side {side}', lambda: smaller):.1f} %"]
        return cells + self._trained(f"side {side}, trained", smaller)

    def _score(self, name: str, model: Any) -> float:
        def found() -> float:
            return 100 * float(self.judge(model()))

        return self.run.remember(f"{name}.json", found)

    def _solved(self, name: str, pooled: nn.Module) -> tuple[nn.Module, float]:
        path = self.run.directory / f"{name}.safetensors"
        taken = self.run.directory / f"{name}.seconds.json"
        if not path.exists():
            started = time.perf_counter()
            solved = vp.reconstruct(pooled, self.model, self.solving)
            write_text(taken, str(time.perf_counter() - started))
            vp.save(solved, path)
        return vp.load(self.model, path), float(taken.read_text())

    def _trained(self, name: str, model: nn.Module) -> list[str]:
        if self.training is None:
            return []
        training = self.training

        def trained() -> nn.Module:
            directory = self.run.directory / name
            directory.mkdir(parents=True, exist_ok=True)
            training.of(model, self.model, directory, self.judge)
            return model

        return [f"{self._score(name, trained):.1f} %"]

    def _side(self, macs: int) -> int:
        """The side of square images with the multiply-accumulates that come nearest."""
        whole = self.example.shape[-1]
        # Multiply-accumulates grow with the square of the side, but for rounding.
        guess = round(whole * (macs / vp.measure.macs(self.model, self.example)) ** 0.5)
        return min(
            range(guess - 2, min(guess + 3, whole)),
            key=lambda side: abs(vp.measure.macs(self.model, self._images(side)) - macs),
        )

    def _images(self, side: int) -> torch.Tensor:
        return torch.zeros(1, 3, side, side)


if __name__ == "__main__":
    main()
