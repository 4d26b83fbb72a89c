"""Learning rates of distillation: which of them a reconstructed network stands.

    python -m benchmarks.accuracy.distillation virtualpool:all_cnn_c --weights cifar10 \
        --data cifar10 --run-dir runs/distillation --steps 60 \
        --rates adamw:1e-4 adamw:1e-3 sgd:1e-2 --clips 1 none

The plan is reconstructed without labels, then distilled for a few steps with each optimizer,
learning rate and clip, from the same weights with the same images. A classifier is judged by its
agreement with the original on the test images, a detector by its mean average precision. Every
number is kept in the run's directory: stopped, the program goes on.
"""

from argparse import Namespace
from functools import partial
from typing import Any

import torch
from torch import nn

import virtualpool as vp
from benchmarks.common.setting import command, setting
from benchmarks.common.tables import table
from benchmarks.common.task import opened, parser, plans
from benchmarks.common.training import DISTILLATIONS, part_of
from virtualpool.cli.task import Task
from virtualpool.files import write_text
from virtualpool.graph.state import copy_of
from virtualpool.records import read_records
from virtualpool.recover.batches import images_of
from virtualpool.search import Round, Run, Score

HEAD = ["plan", "optimizer", "rate", "clip", "loss at first", "at the end", "score"]


def main() -> None:
    given = arguments()
    task = opened(given, given.augment)
    subject = Subject(task, given)
    rows = []
    for name, sites in plans(given, task):
        solved = subject.solved(name, sites)
        rows.append([name, "none", "", "", "", "", subject.score(name, partial(copy_of, solved))])
        for each in given.rates:
            optimizer, rate = each.split(":")
            for clip in given.clips:
                rows.append([name, *subject.row(name, solved, optimizer, rate, clip)])
                print(table(HEAD, rows), flush=True)
    text = (
        f"{given.model}: {given.steps} steps of {given.batch_size} images each.\n\n"
        f"{table(HEAD, rows)}\n{setting(torch.get_num_threads(), ['torch'])}, "
        f"seed {given.seed}\n\n    {command()}\n"
    )
    write_text(given.run_dir / "table.md", text)


def arguments() -> Namespace:
    added = parser(__doc__)
    added.add_argument("--augment", default="none", help="as of the command")
    added.add_argument("--steps", type=int, default=60, help="of each training")
    added.add_argument("--train-images", type=int, help="train on so many images alone")
    added.add_argument("--rates", nargs="+", required=True, metavar="OPTIMIZER:RATE")
    added.add_argument("--clips", nargs="+", default=["1"], help="gradient norms, or none")
    return added.parse_args()


class Subject:
    """A network, and the trainings that are tried on it."""

    def __init__(self, task: Task, given: Namespace) -> None:
        self.task, self.given, self.run = task, given, Run(given.run_dir)
        self.model = task.module.eval()
        self.batches = part_of(task.training_batches, given.train_images, given.seed)
        self.judge: Any = task.evaluator()
        if task.kind == "classification":
            self.judge = Agreement(self.model, task.data.test)

    def solved(self, name: str, sites: list[str]) -> nn.Module:
        """The plan's model, reconstructed."""
        path = self.run.directory / f"{name}.safetensors"
        if not path.exists():
            pooled = vp.apply(self.model, self.task.images, sites, border=self.given.border)
            images = self.task.data.some_training_images(self.given.images, self.given.seed)
            vp.save(vp.reconstruct(pooled, self.model, images), path)
        return vp.load(self.model, path)

    def row(
        self, name: str, solved: nn.Module, optimizer: Any, rate: str, clip: str
    ) -> tuple[str, ...]:
        """The cells of a training."""
        directory = self.run.directory / f"{name}, {optimizer}, {rate}, {clip}"

        def trained() -> nn.Module:
            directory.mkdir(parents=True, exist_ok=True)
            model = copy_of(solved)
            finetune = DISTILLATIONS[self.task.kind](
                self.model, self.batches, optimizer=optimizer, learning_rate=float(rate),
                rate_schedule="cosine", clip=None if clip == "none" else float(clip),
                seed=self.given.seed,
            )  # fmt: skip
            steps, plan = self.given.steps, vp.plan_of(model)
            finetune(
                model, Round(1, (), plan, directory, None, None, _unjudged, training_steps=steps)
            )
            return model

        try:
            score = self.score(directory.name, trained)
        except vp.VirtualPoolError as error:
            return optimizer, rate, clip, "", "", str(error).split(";")[0]
        records = read_records(directory / "training.jsonl")
        losses = [f"{it['loss']:.3g}" for it in records if "loss" in it]
        return optimizer, rate, clip, losses[0], losses[-1], score

    def score(self, name: str, model: Any) -> str:
        """The score of a model, in per cent."""
        found = self.run.remember(f"{name}.json", lambda: 100 * float(self.judge(model())))
        return f"{found:.1f} %"


class Agreement:
    """The share of images with the original's first class."""

    def __init__(self, original: nn.Module, batches: Any) -> None:
        self._batches = batches
        self._expected = self._classes(original)

    def __call__(self, model: nn.Module) -> float:
        """The share of a model."""
        return float((self._classes(model.eval()) == self._expected).float().mean())

    @torch.no_grad()
    def _classes(self, model: nn.Module) -> torch.Tensor:
        return torch.cat([model(images_of(batch)).argmax(1) for batch in self._batches])


def _unjudged(model: nn.Module) -> Score:
    # The trainings are too short for a score in between to say anything.
    return Score(0.0)


if __name__ == "__main__":
    main()
