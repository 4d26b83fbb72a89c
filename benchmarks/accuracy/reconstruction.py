"""Accuracy of a pooled network, reconstructed without labels, then trained, and smaller images.

    python -m benchmarks.accuracy.reconstruction virtualpool:all_cnn_c --weights cifar10 \
        --data cifar10 --run-dir runs/reconstruction --plan "five sites" convs.1 convs.3 ...

Each plan is reconstructed with the same training images, whose labels are not read, and judged on
the test images. Beside it stands the unmodified network on smaller images, with as many
multiply-accumulates. With `--epochs` both are then trained alike, towards the original's outputs
and maps. With `--timing-batch` all are timed at the end, fused, compiled and interleaved. Every
model and number is kept in the run's directory: stopped, the program goes on.
"""

import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import virtualpool as vp
from benchmarks.common.candidates import scale_with
from benchmarks.common.setting import command, setting
from benchmarks.common.tables import table
from benchmarks.common.task import add_training, opened, parser, plans
from benchmarks.common.training import AUGMENTATIONS, DISTILLATIONS, part_of
from virtualpool.cli.task import Task
from virtualpool.files import write_text
from virtualpool.graph.image_scale import without_resizing
from virtualpool.measure.latency import latency
from virtualpool.recover.round import Finetune
from virtualpool.search import Round, Run

HEAD = ["plan", "sites", "image scale", "MACs", "model", "score, %", "drop, points", "seconds"]
ORIGINAL = "original"


def main() -> None:
    given = arguments()
    task = opened(given, "none")
    subject = Subject(task, given)
    models = [Model(ORIGINAL, "", task.module, subject.score(ORIGINAL, lambda: task.module))]
    for name, sites in plans(given, task):
        models += subject.models(name, sites)
    text = (
        f"{given.model}: {given.images} training images without labels solve, "
        f"{subject.judged} test images judge.\n\n{table(HEAD, subject.rows(models))}\n"
        f"{measures(models)}{subject.speeds(models) if given.timing_batch else ''}"
        f"{setting(torch.get_num_threads(), ['torch'])}, seed {given.seed}\n\n    {command()}\n"
    )
    print(text)
    write_text(given.run_dir / "table.md", text)


def arguments() -> Namespace:
    added = parser(__doc__)
    added.add_argument("--image-scale", type=float, default=1, help="of the plans")
    added.add_argument("--samples", type=int, help="positions of a map that solve, if not as usual")
    added.add_argument("--steps", type=int, help="gradient steps of each layer, if not as usual")
    added.add_argument("--timing-batch", type=int, help="images a call that is timed, if at all")
    added.add_argument("--duration-s", type=float, default=10, help="of timing a model")
    add_training(added, 0, "of a training behind")
    return added.parse_args()


@dataclass(frozen=True)
class Training:
    """How models are distilled from the original."""

    distillation: Callable[..., Finetune]
    batches: Any
    settings: dict[str, Any]

    def by(self, original: nn.Module) -> Finetune:
        """The recovery, as `search` takes it."""
        return self.distillation(original, self.batches, **self.settings)

    def of(self, model: nn.Module, original: nn.Module, directory: Path, judge: Any) -> None:
        """Trains a model in place; a training that was stopped goes on."""
        directory.mkdir(parents=True, exist_ok=True)
        finetune = self.by(original)
        finetune(model, Round(1, (), vp.plan_of(model), directory, None, None, judge))

    def kept(
        self, path: Path, model: nn.Module, network: nn.Module, original: nn.Module, judge: Any
    ) -> nn.Module:
        """The model in a file; it is trained and written first where there is none.

        Args:
            path: of the file; its directory without the suffix is the training's.
            model: is trained in place.
            network: the same without a plan, as `load` takes it.
            original: teaches.
            judge: evaluates.
        """
        if not path.exists():
            self.of(model, original, path.with_suffix(""), judge)
            vp.save(model, path)
        return vp.load(network, path, unfused=True)


def training_of(given: Namespace) -> Training:
    """The training that the options ask for, with images that are varied."""
    varied: Any = opened(given, AUGMENTATIONS[given.task]).training_batches
    batches = part_of(varied, given.train_images, given.seed)
    return Training(DISTILLATIONS[given.task], batches, settings_of(given, given.seed))


def settings_of(given: Namespace, seed: int) -> dict[str, Any]:
    """The settings of a distillation, by its options."""
    settings = {"epochs": given.epochs, "seed": seed, "mixed_precision": given.precision}
    if given.learning_rate:
        settings["learning_rate"] = given.learning_rate
    return settings


@dataclass(frozen=True)
class Model:
    """A model of a plan that was judged: as pooled, reconstructed or trained."""

    plan: str
    state: str
    module: nn.Module
    score: vp.Score
    seconds: float | None = None

    @property
    def name(self) -> str:
        """Its name in tables."""
        return ", ".join(filter(None, (self.plan, self.state)))


class Subject:
    """A network, and the models that are made of it."""

    def __init__(self, task: Task, given: Namespace) -> None:
        self.model, self.example, self.given = task.module.eval(), task.images, given
        self.run = Run(given.run_dir)
        self.judge = task.evaluator()
        self.solving = task.data.some_training_images(given.images, given.seed)
        self.training = training_of(given) if given.epochs else None
        test: Any = task.data.test.dataset
        self.judged = len(test)

    def models(self, name: str, sites: list[str]) -> Iterator[Model]:
        """The models of a plan, and those on smaller images with its multiply-accumulates."""
        pooled = vp.apply(
            self.model, self.example, sites, border=self.given.border,
            image_scale=self.given.image_scale,
        )  # fmt: skip
        yield from self._pooled(name, pooled)
        yield from self._smaller(name, vp.measure.macs(pooled, self.example))

    def _pooled(self, name: str, pooled: nn.Module) -> Iterator[Model]:
        yield Model(name, "pooled", pooled, self.score(f"{name}, pooled", lambda: pooled))
        solved = self._solved(name, pooled)
        yield solved
        yield from self._trained(name, solved.module)

    def _smaller(self, name: str, macs: int) -> Iterator[Model]:
        scale = scale_with(macs, self.model, self.example)
        name = f"smaller images for {name}"
        smaller = vp.apply(self.model, self.example, [], image_scale=scale)
        yield Model(name, "", smaller, self.score(name, lambda: smaller))
        yield from self._trained(name, smaller)

    def score(self, name: str, model: Callable[[], nn.Module]) -> vp.Score:
        """What a model is judged as; kept by its name."""

        def found() -> dict[str, Any]:
            return vp.Score.of(self.judge(self._fused(model()))).to_json()

        return self.run.remember(f"{name}/score.json", found)

    def rows(self, models: list[Model]) -> Iterator[list[str]]:
        """A row a model."""
        whole, original = vp.measure.macs(self.model, self.example), models[0].score
        for each in models:
            plan, drop = vp.plan_of(each.module), original - each.score
            macs = vp.measure.macs(each.module, self.example)
            yield [
                each.plan, str(len(plan.sites)), f"{plan.image_scale:.3g}", f"1/{whole / macs:.2f}",
                each.state, f"{100 * each.score:.2f}",
                f"{100 * drop:.2f} ± {100 * (drop.standard_error or 0):.2f}",
                "" if each.seconds is None else f"{each.seconds:.0f}",
            ]  # fmt: skip

    def speeds(self, models: list[Model]) -> str:
        """How fast the plans are, interleaved; smaller images come in small."""
        plans = {each.plan: each.module for each in models}
        timed: dict[str, Any] = {
            name: without_resizing(self._fused(model), self.example)
            for name, model in plans.items()
        }
        given = self.given
        found = latency(
            timed, self.example, mode="compiled", batch=given.timing_batch,
            duration_s=given.duration_s,
        )  # fmt: skip
        rows = [
            [name, f"{it.median_ms:.1f}", str(it.speedup_over(found[ORIGINAL]))]
            for name, it in found.items()
        ]
        times = table(["plan, fused", "ms", "times faster"], rows)
        return f"{times}\nTimed: {found[ORIGINAL]}\n\n"

    def _fused(self, model: nn.Module) -> nn.Module:
        return vp.fuse(model, self.example) if vp.plan_of(model).sites else model

    def _solved(self, name: str, pooled: nn.Module) -> Model:
        path = self.run.directory / f"{name}.safetensors"
        taken = self.run.directory / f"{name}.seconds.json"
        if not path.exists():
            started = time.perf_counter()
            given = self.given
            solved = vp.reconstruct(
                pooled, self.model, self.solving, samples=given.samples, steps=given.steps
            )
            write_text(taken, str(time.perf_counter() - started))
            vp.save(solved, path)
        model = vp.load(self.model, path, unfused=True)
        score = self.score(f"{name}, reconstructed", lambda: model)
        return Model(name, "reconstructed", model, score, float(taken.read_text()))

    def _trained(self, name: str, model: nn.Module) -> Iterator[Model]:
        if self.training is None:
            return
        state = f"trained, {self.given.epochs:g} epochs"
        path = self.run.directory / f"{name}, trained.safetensors"
        trained = self.training.kept(path, model, self.model, self.model, self.judge)
        yield Model(name, state, trained, self.score(f"{name}, trained", lambda: trained))


def measures(models: list[Model]) -> str:
    """The other measures of each model, if there are any."""
    names = dict.fromkeys(name for each in models for name in each.score.metrics)
    if not names:
        return ""
    rows = [
        [each.name, *(f"{100 * each.score.metrics.get(it, float('nan')):.1f}" for it in names)]
        for each in models
    ]
    head = ["model", *names]
    return f"In per cent:\n\n{table(head, rows)}\n"


if __name__ == "__main__":
    main()
